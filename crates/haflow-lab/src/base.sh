# Run inside a fresh base (chroot) to make of it what a rented Debian server looks like.
# $1: the suite. $2: "security" if the suite has security and updates archives.
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
suite=$1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || keyring=/usr/share/keyrings/debian-archive-keyring.pgp
rm -f /etc/apt/sources.list
{
    printf 'Types: deb\nURIs: http://deb.debian.org/debian\nSuites: %s%s\nComponents: main\nSigned-By: %s\n' \
        "$suite" "${2:+ $suite-updates}" "$keyring"
    [ -z "$2" ] || printf '\nTypes: deb\nURIs: http://deb.debian.org/debian-security\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$suite-security" "$keyring"
} > /etc/apt/sources.list.d/debian.sources

# Nothing is started while packages are configured in here.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -qy dist-upgrade
apt-get -qy clean
rm -f /usr/sbin/policy-rc.d
rm -rf /var/lib/apt/lists/*

# Every host gets its own of these.
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id /etc/hostname
ln -s /etc/machine-id /var/lib/dbus/machine-id
: > /etc/machine-id

useradd --create-home --user-group --shell /bin/bash debian
printf 'debian ALL=(ALL) NOPASSWD:ALL\n' > /etc/sudoers.d/90-debian
chmod 440 /etc/sudoers.d/90-debian
for home in /root /home/debian; do
    mkdir -p "$home/.ssh"
    chmod 700 "$home/.ssh"
done
chown debian:debian /home/debian/.ssh

# A login says nothing but what it was asked for.
: > /etc/motd
rm -rf /etc/update-motd.d
mkdir /etc/update-motd.d
printf 'LANG=C.UTF-8\n' > /etc/default/locale
# The machine's name servers answer slowly, or not at all, for the lab's own addresses.
printf 'UseDNS no\nPrintLastLog no\n' > /etc/ssh/sshd_config.d/haflow.conf

# Units that are of no use in a lab, slow its boot, or hold dpkg's lock when a playbook wants it.
for unit in apt-daily.timer apt-daily.service apt-daily-upgrade.timer apt-daily-upgrade.service \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer \
    console-getty.service getty@.service serial-getty@.service container-getty@.service \
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-resolved.service systemd-timesyncd.service systemd-firstboot.service \
    systemd-udevd.service systemd-udev-trigger.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
rm -f /etc/systemd/system/multi-user.target.wants/systemd-networkd.service
# sshd listens by itself, as on Debian's servers, not by a socket unit.
ln -sf multi-user.target /etc/systemd/system/default.target
