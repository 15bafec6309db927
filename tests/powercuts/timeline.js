// The timeline of a recording: its requests from left to right, in lines that wrap as those of a text do.

const GUTTER = 60;
const LABEL = 17, STATES = 24, BOOTS = 15, LANE = 12, FLUSH = 9, AXIS = 15;
const UNIT = 6; // of one request, in pixels
const ALONE = 24; // So many requests that are alike are drawn at full width,
const ENDS = 6; // and of more than that the first and the last ones.
const ALWAYS = ["grub", "A_boot", "A_root", "A_var", "B_boot", "B_root", "B_var"];
const ORDER = ["esp", "grub", "config", "guestos", ...ALWAYS.slice(1), "rest"];

const SVG = document.querySelector("svg").namespaceURI;
const ruler = document.createElement("canvas").getContext("2d");

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function widthOf(text, weight = 400) {
  ruler.font = `${weight} 11px system-ui, "DejaVu Sans", sans-serif`;
  return ruler.measureText(text).width;
}

// An instant comes as a list, since there are many.
function instantsOf(recording) {
  return recording.instants.map(([kind, region, offset, size, slot, isTrial, states]) => (
    { kind, region, offset, size, slot, isTrial, states }));
}

// The label of a cut begins with the request after which the power goes.
function positionOf(violation) {
  return Number(violation.cut.split(":")[0]);
}

// The requests after which a cut can break a rule. A flush changes nothing of what a reset leaves, and has no cuts of its
// own, so it is one of them where the reset before it is.
function dangersOf(recording) {
  const dangers = new Set(recording.violations.map(positionOf));
  for (const violation of recording.violations) {
    if (violation.cut.split(":")[1] !== "reset") continue;
    for (let next = positionOf(violation) + 1; recording.instants[next]?.[0] === "flush"; next += 1) dangers.add(next);
  }
  return dangers;
}

// A dangerous window: such requests in a row.
function windowsOf(recording) {
  const windows = [];
  for (const position of [...dangersOf(recording)].sort((a, b) => a - b)) {
    const last = windows.at(-1);
    if (last && position === last.end) last.end += 1;
    else windows.push({ first: position, end: position + 1 });
  }
  return windows;
}

class Timeline {
  constructor(recording) {
    this.recording = recording;
    this.instants = instantsOf(recording);
    this.dangers = dangersOf(recording);
    this.windows = windowsOf(recording);
    this.mostStates = Math.max(1, ...this.instants.map((instant) => instant.states));
    this.regions = this.findRegions();
    this.natural = this.squeezed();
    this.home = document.createElement("div");
    this.home.className = "timeline";
  }

  // The lanes, and where the writes in each begin and end: a lane shows the part that is written.
  findRegions() {
    const regions = new Map();
    for (const { kind, region, offset, size } of this.instants) {
      if (kind !== "write") continue;
      const found = regions.get(region) ?? { first: offset, end: offset + size };
      regions.set(region, { first: Math.min(found.first, offset), end: Math.max(found.end, offset + size) });
    }
    const others = [...regions.keys()].filter((name) => !ORDER.includes(name)).sort();
    const names = [...ORDER.slice(0, -1), ...others, "rest"];
    const shown = names.filter((name) => ALWAYS.includes(name) || regions.has(name));
    return shown.map((name, number) => ({ name, number, ...regions.get(name) }));
  }

  // How wide each request is. Where many that are alike follow each other, those in the middle move together.
  squeezed() {
    let region = "";
    const alike = this.instants.map((instant, position) => {
      region = instant.kind === "write" ? instant.region : region;
      const step = this.recording.steps.findIndex((one) => position < one.end);
      return [step, region, instant.slot, instant.isTrial, this.dangers.has(position)].join();
    });
    const widths = new Array(alike.length).fill(UNIT);
    this.stretches = [];
    for (let first = 0, end; first < alike.length; first = end) {
      for (end = first + 1; alike[end] === alike[first]; end += 1);
      const middle = end - first - 2 * ENDS;
      if (end - first <= ALONE) continue;
      const width = (UNIT * ENDS * Math.log2(1 + middle / ENDS)) / middle;
      widths.fill(Math.min(UNIT, width), first + ENDS, end - ENDS);
      this.stretches.push({ first: first + ENDS, end: end - ENDS });
    }
    return widths;
  }

  // Break the steps into lines: each line is a list of pieces of steps, and each request gets its place.
  layOut(width) {
    const room = width - GUTTER - 1;
    this.left = new Array(this.instants.length).fill(0);
    this.wide = new Array(this.instants.length).fill(0);
    this.lines = [[]];
    let used = 0;
    const next = () => { this.lines.push([]); used = 0; };
    this.recording.steps.forEach((step, number) => {
      const label = widthOf(step.name, 600) + 12;
      const widths = this.natural.slice(step.first, step.end);
      const total = widths.reduce((sum, one) => sum + one, 0);
      const grown = total && total < label ? label / total : 1;
      const whole = Math.max(total * grown, label);
      // A step that does not fit is broken where enough of it stays on the line.
      if (used > 0 && used + whole > room && room - used < Math.max(0.3 * room, label)) next();
      let first = step.first;
      let isFirst = true;
      do {
        let end = first, taken = 0;
        while (end < step.end && (end === first || used + taken + this.natural[end] * grown <= room + 0.01)) {
          this.left[end] = used + taken;
          this.wide[end] = this.natural[end] * grown;
          taken += this.wide[end];
          end += 1;
        }
        const piece = { step, number, isFirst, first, end, left: used, width: Math.max(taken, isFirst ? label : 0) };
        this.lines.at(-1).push(piece);
        used += piece.width;
        first = end;
        isFirst = false;
        if (first < step.end) next();
      } while (first < step.end);
    });
    this.lines.forEach((line, number) => this.justify(line, room, number === this.lines.length - 1));
  }

  // Stretch a line to the full width, but never a short last one.
  justify(line, room, isLast) {
    const used = line.at(-1).left + line.at(-1).width;
    const factor = isLast && used < 0.7 * room ? 1 : room / used;
    for (const piece of line) {
      piece.left *= factor;
      piece.width *= factor;
      for (let position = piece.first; position < piece.end; position += 1) {
        this.left[position] *= factor;
        this.wide[position] *= factor;
      }
    }
  }

  draw(width) {
    if (width === this.width) return;
    this.width = width;
    this.layOut(width);
    this.top = {};
    let y = 0;
    for (const [name, height] of [["label", LABEL], ["states", STATES], ["boots", BOOTS + 3],
      ["lanes", LANE * this.regions.length + 2], ["flush", FLUSH], ["axis", AXIS]]) {
      this.top[name] = y;
      y += height;
    }
    this.height = y;
    this.svgs = this.lines.map((line) => this.drawLine(line));
    this.home.replaceChildren(...this.svgs);
    this.cursor = shape("rect", { class: "cursor", y: LABEL, height: this.top.axis - LABEL, rx: 1 });
    if (this.shown !== undefined) this.show(this.shown);
  }

  drawLine(line) {
    const first = line[0].first, end = line.at(-1).end;
    const svg = shape("svg", { width: this.width, height: this.height, viewBox: `0 0 ${this.width} ${this.height}`,
      role: "img", "aria-label": `Timeline: ${line.map((piece) => piece.step.name).join(", ")}` });
    const all = shape("g", { transform: `translate(${GUTTER} 0)` });
    svg.append(all);
    for (const piece of line) this.drawStep(all, piece);
    this.drawWindows(all, first, end);
    this.drawLanes(svg, all, line.at(-1).left + line.at(-1).width);
    this.drawMarks(all, first, end);
    this.drawBoots(all, first, end);
    this.drawAxis(all, line);
    return svg;
  }

  drawLanes(svg, all, width) {
    const label = (text, y) => svg.append(shape("text", { class: "lane", x: 0, y }, text));
    label("states", this.top.states + STATES - 2);
    label("boots", this.top.boots + 11);
    for (const { name, number } of this.regions) label(name, this.top.lanes + LANE * number + 10);
    label("flushes", this.top.flush + 9);
    let rules = "";
    for (let n = 0; n <= this.regions.length; n += 1) rules += `M0 ${this.top.lanes + n * LANE + 0.5}h${width}`;
    all.append(shape("path", { class: "rule", d: rules }));
  }

  drawStep(all, piece) {
    const group = shape("g", {});
    group.append(shape("title", {}, `${piece.step.name}: ${piece.step.what}`));
    const height = this.top.axis;
    group.append(shape("rect", { class: piece.number % 2 ? "odd" : "even", fill: "none", x: piece.left, y: 0,
      width: piece.width, height }));
    const name = piece.isFirst ? piece.step.name : `… ${piece.step.name}`;
    if (widthOf(name, 600) <= piece.width) {
      group.append(shape("text", { class: "step", x: piece.left + 4, y: LABEL - 5 }, name));
    }
    if (piece.isFirst) group.append(shape("path", { class: "edge", d: `M${piece.left + 0.5} 0v${height}` }));
    all.append(group);
  }

  drawMarks(all, first, end) {
    const marks = new Map(this.regions.map(({ name }) => [name, ""]));
    let states = "", flushes = "", lines = "";
    const scale = STATES / Math.log2(1 + this.mostStates);
    const byName = new Map(this.regions.map((region) => [region.name, region]));
    for (let position = first; position < end; position += 1) {
      const instant = this.instants[position];
      const x = this.left[position], wide = this.wide[position];
      const mark = Math.max(1, Math.min(wide - 1, 8));
      if (instant.kind === "flush") {
        const middle = (x + wide / 2).toFixed(1);
        flushes += `M${middle} ${this.top.flush + 1}v${FLUSH - 2}`;
        lines += `M${middle} ${this.top.lanes}v${LANE * this.regions.length}`;
        continue;
      }
      if (instant.states) {
        const high = Math.max(2, scale * Math.log2(1 + instant.states));
        states += box(x, this.top.states + STATES - high, mark, high);
      }
      const region = byName.get(instant.region);
      const span = Math.max(region.end - region.first - instant.size, 1);
      const down = 1.5 + ((instant.offset - region.first) / span) * (LANE - 4.5);
      marks.set(instant.region, marks.get(instant.region) + box(x, this.top.lanes + LANE * region.number + down, mark, 2.5));
    }
    all.append(shape("path", { class: "flush-line", d: lines }), shape("path", { class: "states", d: states }));
    for (const [name, d] of marks) all.append(shape("path", { class: `mark-${colour(name)}`, d }));
    all.append(shape("path", { class: "flush", d: flushes }));
  }

  drawBoots(all, first, end) {
    const same = (a, b) => a.slot === b.slot && a.isTrial === b.isTrial;
    for (let begin = first, stop; begin < end; begin = stop) {
      const { kind, slot, isTrial } = this.instants[begin];
      for (stop = begin + 1; stop < end && same(this.instants[stop], this.instants[begin]); stop += 1);
      if (!slot && kind === "flush") continue; // Before the first write, nobody has asked.
      const box = { x: this.left[begin], y: this.top.boots,
        width: this.left[stop - 1] + this.wide[stop - 1] - this.left[begin], height: BOOTS };
      all.append(shape("rect", { class: `slot-${slot}`, ...box }));
      if (isTrial) all.append(shape("rect", { fill: "url(#trial)", ...box }));
      const words = slot ? [isTrial ? `${slot} on trial` : slot, slot] : ["nothing", "–"];
      const text = words.find((word) => widthOf(word, 600) + 6 <= box.width);
      if (text) all.append(shape("text", { class: `on on-${slot}`, x: box.x + 4, y: box.y + 11 }, text));
    }
  }

  drawAxis(all, line) {
    let free = -Infinity;
    for (const { first, end, left } of line) {
      const text = String(first);
      if (first === end || left < free) continue;
      all.append(shape("text", { class: "axis", x: left + 3, y: this.top.axis + 12 }, text));
      free = left + widthOf(text) + 10;
    }
    const from = line[0].first, to = line.at(-1).end;
    for (const stretch of this.stretches) {
      const first = Math.max(stretch.first, from), end = Math.min(stretch.end, to);
      if (first >= end) continue;
      const left = this.left[first], width = this.left[end - 1] + this.wide[end - 1] - left;
      all.append(shape("path", { class: "squeeze", d: `M${left} ${this.top.axis + 1}v3h${width}v-3` }));
      const text = [`${end - first} alike`, `${end - first}`].find((words) => widthOf(words) <= width);
      const taken = line.some((piece) => piece.left < left + width && piece.left + 30 > left);
      if (text && !taken) {
        const middle = { x: left + width / 2, "text-anchor": "middle" };
        all.append(shape("text", { class: "axis", ...middle, y: this.top.axis + 14 }, text));
      }
    }
  }

  drawWindows(all, from, to) {
    for (const dangerous of this.windows) {
      const first = Math.max(dangerous.first, from), end = Math.min(dangerous.end, to);
      if (first >= end) continue;
      const left = this.left[first], width = Math.max(2, this.left[end - 1] + this.wide[end - 1] - left);
      const y = this.top.states;
      all.append(shape("rect", { class: "window", x: left, y, width, height: this.top.axis - y }));
      const edge = Math.max(6, width);
      all.append(shape("rect", { class: "window-edge", x: left + (width - edge) / 2, y: y - 3, width: edge, height: 4 }));
    }
  }

  // Put the cursor on a request.
  show(position) {
    this.shown = position;
    const number = this.lines.findIndex((line) => position < line.at(-1).end);
    if (number < 0) return;
    const wide = Math.max(this.wide[position], 3);
    this.cursor.setAttribute("x", GUTTER + this.left[position] + (this.wide[position] - wide) / 2);
    this.cursor.setAttribute("width", wide);
    this.svgs[number].append(this.cursor);
  }

  // The request under a pointer.
  at(event) {
    const svg = event.target.closest("svg");
    const line = this.lines[this.svgs.indexOf(svg)];
    if (!line) return undefined;
    const frame = svg.getBoundingClientRect();
    const x = ((event.clientX - frame.left) * this.width) / frame.width - GUTTER;
    let position = line[0].first;
    while (position + 1 < line.at(-1).end && this.left[position + 1] <= x) position += 1;
    return position < line.at(-1).end ? position : undefined;
  }
}

function box(x, y, width, height) {
  return `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h-${width.toFixed(1)}z`;
}

function colour(region) {
  return /^[AB]_/.test(region) ? region[0] : region === "grub" ? "grub" : "rest";
}
