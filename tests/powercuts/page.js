// What a report says in words, tables and timelines. All text comes in as text, never as HTML.

const found = JSON.parse(document.getElementById("result").textContent);
const CUTS_SHOWN = 400; // of one kind of violation; the JSON has the others

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => (typeof child === "number" ? count(child) : child)));
  return made;
}

function count(number) {
  return number.toLocaleString("en");
}

function some(number, noun, many = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : many}`;
}

function sum(list, key) {
  return list.reduce((total, one) => total + key(one), 0);
}

function size(bytes) {
  for (const [unit, name] of [[1048576, "MiB"], [1024, "KiB"]]) {
    if (bytes >= unit) return `${count(Math.round((bytes / unit) * 10) / 10)} ${name}`;
  }
  return some(bytes, "byte");
}

function slots(letters) {
  return letters ? [...letters].join(" or ") : "none";
}

function span({ first, end }) {
  return end - first === 1 ? `request ${count(first)}` : `requests ${count(first)} to ${count(end - 1)}`;
}

function table(heads, rows, foot) {
  const row = (cells) => make("tr", {}, make("th", { scope: "row" }, cells[0]),
    ...cells.slice(1).map((cell) => make("td", {}, cell)));
  const parts = [
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map(row)),
  ];
  if (foot) parts.push(make("tfoot", {}, row(foot)));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads[0] },
    make("table", {}, ...parts));
}

function link(recording) {
  return make("a", { href: `#${recording.name}` }, recording.title);
}

function broken(recording) {
  const number = recording.violations.length;
  return number ? make("a", { href: `#${recording.name}-violations`, class: "bad" }, number) : 0;
}

function showCounts(ours) {
  const states = sum(ours, (one) => one.states);
  const violations = sum(ours, (one) => one.violations.length);
  const verdict = document.getElementById("verdict");
  verdict.textContent = violations
    ? `A rule does not hold in ${count(violations)} of ${some(states, "distinct state")}.`
    : `All rules hold in ${some(states, "distinct state")} of the disk.`;
  const missing = found.missing ?? [];
  if (missing.length) verdict.textContent += ` Nothing is known of ${missing.join(", ")}.`;
  verdict.classList.toggle("bad", violations > 0 || missing.length > 0);
  const cuts = (one) => sum(Object.values(one.cuts), (number) => number);
  const heads = ["recording", "writes", "flushes", "cuts", "distinct states", "violations"];
  const rows = ours.map((one) => [
    link(one), one.requests - one.flushes, one.flushes, cuts(one), one.states, broken(one)]);
  const total = (key) => sum(ours, key);
  document.getElementById("counts").append(table(heads, rows, ["all",
    total((one) => one.requests - one.flushes), total((one) => one.flushes), total(cuts), states, violations]));
  const facts = { seed: found.seed, "samples at a write": found.samples,
    "it took": `${count(Math.max(1, Math.round(found.seconds / 60)))} min`, ...found.versions };
  document.getElementById("facts").append(...Object.entries(facts).map(([name, value]) => (
    make("div", {}, make("dt", {}, name), make("dd", {}, String(value))))));
}

function showBooted(ours) {
  const booted = ours.flatMap((recording) => recording.booted.map((one) => ({ recording, ...one })));
  if (!booted.length) return;
  const healthy = booted.filter((one) => !one.wrong.length).length;
  const verdict = make("p", healthy < booted.length ? { class: "bad" } : {},
    `${count(healthy)} of ${some(booted.length, "state")} that were booted for real came up healthy.`);
  const rows = booted.map((one) => [link(one.recording), one.step, make("code", {}, one.cut),
    `${one.slot}${one.is_trial ? ", on trial" : ""}`, `${count(Math.round(one.seconds))} s`,
    one.wrong.join("; ") || "healthy"]);
  document.getElementById("booted").append(
    make("h2", {}, "Booted for real"),
    make("p", {}, "In QEMU, from the firmware on: the slot that the judges had foretold is up, no unit has failed, and " +
      "status and history work. The same state once more, with its cut:"),
    make("pre", { class: "command" }, `${found.judge} --boot RECORDING CUT`),
    verdict, table(["recording", "step", "cut", "slot", "after", "found"], rows));
}

function showPeers(peers) {
  if (!peers.length) return;
  const requests = (one) => sum(windowsOf(one), ({ first, end }) => end - first);
  const rows = found.recordings.map((one) => [
    link(one), one.requests, one.states, broken(one), windowsOf(one).length, requests(one)]);
  document.getElementById("peers").append(
    make("h2", {}, "Other procedures"),
    make("p", {}, "The same node, the same images, the same cuts and the same judge. Of other procedures, only that is " +
      "asked which any updater promises; manageboot is asked for more."),
    table(["procedure", "requests", "distinct states", "violations", "dangerous windows", "requests in them"], rows),
    ...peers.map(showRecording),
  );
}

function showRecording(recording) {
  const timeline = new Timeline(recording);
  const last = recording.instants.length - 1;
  const slider = make("input", { type: "range", min: 0, max: Math.max(last, 0), value: 0, "aria-label": "request" });
  const output = make("output", { "aria-live": "off" }, "Point at the timeline, or move the slider with the arrow keys, to read a request.");
  const show = (position) => {
    slider.value = position;
    timeline.show(position);
    const words = wordsOf(recording, timeline, position);
    output.textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const kind of ["pointerdown", "pointermove"]) {
    timeline.home.addEventListener(kind, (event) => {
      const position = timeline.at(event);
      if (position !== undefined) show(position);
    });
  }
  timelines.push(timeline);
  return make("section", { id: recording.name, "aria-label": recording.title },
    make("h3", {}, recording.title),
    make("p", { class: "note" }, `${some(recording.requests - recording.flushes, "write")} and ` +
      `${some(recording.flushes, "flush", "flushes")}; ${some(recording.states, "distinct state")}, ` +
      `of which GRUB can tell ${count(recording.asked.grub ?? 0)} apart; ` +
      `${some(recording.violations.length, "violation")}.`),
    timeline.home, make("div", { class: "reader" }, slider, output),
    ...showViolations(recording), ...showSteps(recording, timeline));
}

function wordsOf(recording, timeline, position) {
  const { kind, region, offset, size: bytes, slot, isTrial, states } = timeline.instants[position];
  const step = recording.steps.find((one) => position >= one.first && position < one.end);
  const what = kind === "flush" ? "a flush" : `${size(bytes)} to ${region}, at byte ${count(offset)} of the disk`;
  const boots = slot ? `Slot ${slot} boots${isTrial ? ", on trial" : ""}.` : kind === "flush" ? "" : "Nothing boots.";
  const cuts = kind === "flush" ? "" : `A cut here can leave ${some(states, "new state")}.`;
  const broken = recording.violations.filter((one) => positionOf(one) === position).length;
  const rule = broken ? `In ${count(broken)} of them a rule does not hold.` : "";
  const words = [`Request ${count(position)}${step ? `, ${step.name}` : ""}: ${what}.`, boots, cuts, rule];
  return words.filter(Boolean).join(" ");
}

function showSteps(recording, timeline) {
  return [make("h4", {}, "Steps"), make("ol", { class: "steps" }, ...recording.steps.map((step) => {
    const instants = timeline.instants.slice(step.first, step.end);
    const writes = instants.filter((one) => one.kind === "write").length;
    const states = sum(instants, (one) => one.states);
    const allowed = step.during === step.after
      ? `slot ${slots(step.after)} has to boot`
      : `slot ${slots(step.during)} may boot meanwhile, slot ${slots(step.after)} has to once it is done`;
    const where = step.first === step.end ? "no request" : span(step);
    return make("li", {}, make("b", {}, step.name), step.what,
      make("small", {}, `${where}, ${some(writes, "write")}, ${some(states, "state")}; ${allowed}`));
  }))];
}

function showViolations(recording) {
  if (!recording.violations.length) return [];
  const windows = windowsOf(recording).map(span);
  const shown = windows.slice(0, 20).join(", ") + (windows.length > 20 ? `, and ${windows.length - 20} more` : "");
  const kinds = new Map();
  for (const violation of recording.violations) {
    const kind = JSON.stringify([violation.step, violation.wrong]);
    kinds.set(kind, [...(kinds.get(kind) ?? []), violation]);
  }
  return [
    make("h4", { id: `${recording.name}-violations` }, `Violations in ${some(recording.violations.length, "state")}`),
    make("p", {}, `${windows.length === 1 ? "The dangerous window" : "The dangerous windows"}: ${shown}.`),
    ...[...kinds.values()].map((alike) => showKind(recording, alike)),
  ];
}

// Violations in one step in which the same rules are broken: the first in full, of the others the cuts.
function showKind(recording, alike) {
  const [first, ...others] = alike;
  const parts = [
    make("p", {}, make("b", {}, `${first.step}: `), first.wrong.join("; "), `, in ${some(alike.length, "state")}.`),
    make("p", {}, `Cut ${first.cut}; the requests before it:`),
    make("pre", {}, first.around.join("\n")),
    make("p", {}, "Judge it once more:"),
    make("pre", { class: "command" }, `${found.judge} ${recording.name} ${first.cut}`),
  ];
  if (others.length) {
    const cuts = others.slice(0, CUTS_SHOWN).map((one) => one.cut).join("  ");
    const more = others.length > CUTS_SHOWN ? `  and ${count(others.length - CUTS_SHOWN)} more, in power-cuts.json` : "";
    const title = `${others.length === 1 ? "One other cut breaks" : `${count(others.length)} other cuts break`} the same`;
    parts.push(make("details", {}, make("summary", {}, title), make("pre", {}, cuts + more)));
  }
  return make("div", { class: "violation" }, ...parts);
}

const timelines = [];
const ours = found.recordings.filter((one) => !one.peers);
showCounts(ours);
showBooted(ours);
document.getElementById("recordings").append(...ours.map(showRecording));
showPeers(found.recordings.filter((one) => one.peers));

function draw() {
  for (const timeline of timelines) {
    // Of one that is not in the page there is no width.
    if (timeline.home.clientWidth) timeline.draw(timeline.home.clientWidth);
  }
}

// For a picture: `#picture-guest` in the address leaves the legend and that recording's timeline.
const pictured = timelines.find(({ recording }) => location.hash === `#picture-${recording.name}`);
if (pictured) document.querySelector("main").replaceChildren(document.querySelector(".legend"), pictured.home);
draw();
addEventListener("resize", draw);
// The section that the address names was not there when the browser looked for it.
document.getElementById(location.hash.slice(1))?.scrollIntoView();
