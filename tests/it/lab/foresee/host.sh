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
    echo free >"/srv/build/p/usr/share/doc/$1/copyright"
    [ "$1" != large ] || head -c 300000 /dev/urandom >"/srv/build/p/usr/share/doc/$1/all"
    [ "$1" != failing ] || printf '#!/bin/sh\nexit 1\n' >/srv/build/p/DEBIAN/postinst
    [ "$1" != failing ] || chmod 755 /srv/build/p/DEBIAN/postinst
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: all\n' "$1" "$2"
        printf 'Maintainer: nobody <nobody@example.org>\nDescription: a test\n'
        name=$1 version=$2
        shift 2
        for field; do printf '%s\n' "$field"; done
    } >/srv/build/p/DEBIAN/control
    file=/srv/repo/${name}_$version.deb
    dpkg-deb -b /srv/build/p "$file" >/dev/null
    {
        cat /srv/build/p/DEBIAN/control
        printf 'Filename: ./%s\nSize: %s\n' "${file##*/}" "$(stat -c %s "$file")"
        printf 'SHA256: %s\n\n' "$(sha256sum "$file" | cut -d ' ' -f 1)"
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
package failing 1.0
apt-get -q update
printf '#!/bin/sh\napt-get -q update >/dev/null\n' >/usr/local/bin/update
chmod 755 /usr/local/bin/update
ln -s /usr/share/keyrings/debian-archive-keyring.gpg /srv/ring

# unit NAME LINE…: a unit of the host's own; packaged NAME LINE…: one that a package could have brought;
# nounit NAME…: they are gone.
for one in unit:/etc packaged:/usr/lib; do
    cat >/usr/local/bin/"${one%%:*}" <<END
#!/bin/sh
name=\$1
shift
printf '%s\\n' "\$@" >"${one#*:}/systemd/system/\$name"
systemctl daemon-reload
END
done
cat >/usr/local/bin/nounit <<'END'
#!/bin/sh
systemctl -q stop "$@" 2>/dev/null
for name; do rm -f "/etc/systemd/system/$name" "/usr/lib/systemd/system/$name"; done
systemctl daemon-reload
systemctl reset-failed
END
# newer UNIT FILE: the file has changed after the unit's start, by a clock's whole second.
cat >/usr/local/bin/newer <<'END'
#!/bin/sh
since=$(systemctl show -p InactiveExitTimestamp --value --timestamp=unix "$1")
since=@$((${since#@} + 1))
touch "$2"
until [ -n "$(find "$2" -newerct "$since")" ]; do touch "$2"; done
END
chmod 755 /usr/local/bin/newer /usr/local/bin/unit /usr/local/bin/packaged /usr/local/bin/nounit
