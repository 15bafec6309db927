# In a root of Debian's: installs the packages with apt, uses them, upgrades, removes and purges them. What each step says
# goes to the file of its name in /said.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
mkdir -p /said /boot/grub
trap 'status=$?; [ $status = 0 ] || tail -n 20 /said/apt /said/update >&2' EXIT

files() {
    find / -xdev \( -path /said -o -path /packages -o -path /proc -o -path /tmp \) -prune -o -print | sort >"/said/$1"
}
apt() {
    apt-get install --yes --no-install-recommends "$@" >>/said/apt 2>&1
}
says() { # NAME COMMAND...: what it says, and its exit status
    name=$1
    shift
    status=0
    "$@" >"/said/$name" 2>&1 || status=$?
    echo "exit status $status" >>"/said/$name"
}

apt-get update >/said/update 2>&1
files before

# The library alone, in an older version.
apt /packages/old/python3-grubenv_*.deb
cp /said/apt /said/apt-grubenv
grubenv /boot/grub/grubenv create
grubenv /boot/grub/grubenv set boot_alternative=A boot_cycle=stable
says list grubenv /boot/grub/grubenv list
sha256sum /boot/grub/* >/said/boot-before

# All of them in that version, and then in this one.
apt /packages/old/*.deb
ls /usr/lib/python3/dist-packages/manageboot/gone.py >/said/old
: >/said/apt
apt /packages/new/*.deb
ls /usr/lib/python3/dist-packages/manageboot >/said/new
says version manageboot --version
says version-grubenv grubenv --version
says icos /opt/ic/bin/manageboot.sh help
says status manageboot status
says doctor manageboot doctor
find /etc/systemd/system -name 'manageboot*.*' >/said/enabled

# What there is of a node that was in use: a configuration, a record, a lock, and the service, which somebody enabled.
mkdir -p /etc/manageboot /var/lib/manageboot /run/manageboot /etc/systemd/system/sysinit.target.wants
cp /usr/share/doc/manageboot/examples/manageboot.toml /etc/manageboot/ 2>/dev/null || touch /etc/manageboot/manageboot.toml
touch /var/lib/manageboot/slot-a.json /run/manageboot/lock
unit=$(dpkg -L manageboot | grep /manageboot.service)
ln -s "$unit" /etc/systemd/system/sysinit.target.wants/manageboot.service

apt-get remove --yes manageboot manageboot-icos python3-grubenv >>/said/apt 2>&1
files removed
# apt no longer knows the third one, of which a removal leaves nothing.
apt-get purge --yes manageboot python3-grubenv >>/said/apt 2>&1
apt-get autoremove --purge --yes >>/said/apt 2>&1
files after
sha256sum /boot/grub/* >/said/boot-after
