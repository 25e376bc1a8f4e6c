# What the ways to fail stand on: one small repository of the host's own instead of the archive.
set -e
export DEBIAN_FRONTEND=noninteractive
mkdir -p /srv/repo /srv/build
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list
# package NAME VERSION [FIELD…]
package() {
    rm -rf /srv/build/p
    mkdir -p /srv/build/p/DEBIAN "/srv/build/p/usr/share/doc/$1"
    if [ "$1" = large ]; then head -c 300000 /dev/urandom >"/srv/build/p/usr/share/doc/$1/all"; else echo free >"/srv/build/p/usr/share/doc/$1/copyright"; fi
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n' "$1" "$2"
        name=$1 version=$2
        shift 2
        for field; do printf '%s\n' "$field"; done
    } >/srv/build/p/DEBIAN/control
    file=/srv/repo/${name}_$version.deb
    dpkg-deb -b /srv/build/p "$file" >/dev/null
    {
        cat /srv/build/p/DEBIAN/control
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${file##*/}" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
    } >>/srv/repo/Packages
}
: >/srv/repo/Packages
package alpha 1.0
package alpha 2.0
package beta 1.0 'Conflicts: alpha'
package gamma 1.0 'Depends: nosuchdependency'
package large 1.0
package needs-alpha 1.0 'Depends: alpha'
package provider 1.0 'Provides: virt'
apt-get -q update
