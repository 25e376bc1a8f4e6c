# Two signed repositories of small packages, on the host that runs this: `repo`, which it uses at once, and
# `pinned`, which is served over HTTP and whose key nothing trusts yet.
set -eu
export HOME=/root
mkdir -p /srv/repo /srv/pinned /root/specs
cd /root/specs
for name in lab pinned other; do
    gpg --batch --quiet --passphrase '' --quick-generate-key "$name <$name@example.org>" ed25519 sign 2y
    gpg --armor --export "$name@example.org" > "/srv/$name.asc"
done
package() {
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: test\nLicense: MIT\nBuildArch: noarch\n%s\n' "$1" "$2" "$3"
        printf '%%description\ntest\n%%install\nmkdir -p %%{buildroot}/usr/share/lab\necho %s > %%{buildroot}/usr/share/lab/%s\n' "$2" "$1"
        printf '%%files\n/usr/share/lab/%s\n' "$1"
    } > "$1.spec"
    rpmbuild -bb --quiet "$1.spec" >/dev/null 2>&1
}
# Signs packages by a key.
sign() {
    key=$1
    shift
    rpm --define "_gpg_name $key@example.org" --define '__gpg /usr/bin/gpg' --addsign "$@" >/dev/null 2>&1
}
package hello 1.0 ''
package hello 1.1 ''
package hello 2.0 ''
package hello-extra 1.0 'Requires: hello
Provides: greeting = 1'
mv /root/rpmbuild/RPMS/noarch/*.rpm /srv/repo/
sign lab /srv/repo/*.rpm
package signed 1.0 ''
# zypper insists on some package of that name, and who has scripts on some that has a shell.
package glibc 2.40 'Provides: /bin/sh'
# Most packages of these families don't start their services. This one does.
package starter 1.0 '%post
printf "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n" > /etc/systemd/system/starter.service
systemctl daemon-reload
systemctl enable --now starter.service
'
package unsigned 1.0 ''
mv /root/rpmbuild/RPMS/noarch/*.rpm /srv/pinned/
sign pinned /srv/pinned/[gs]*.rpm
for name in lab:repo pinned:pinned; do
    createrepo_c -q "/srv/${name#*:}"
    gpg --batch --yes --local-user "${name%:*}@example.org" --detach-sign --armor "/srv/${name#*:}/repodata/repomd.xml"
done
cp -r /srv/pinned/repodata /srv/good
printf '[lab]\nname=lab\nbaseurl=file:///srv/repo\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file:///srv/lab.asc\n' |
    tee /etc/yum.repos.d/lab.repo > /etc/zypp/repos.d/lab.repo
rpm --import /srv/lab.asc
systemd-run --quiet --unit repository python3 -m http.server --directory /srv 8000
