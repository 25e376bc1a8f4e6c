# Makes a host look like one of the rpm families to whoever asks for packages: Debian underneath, and real rpm, dnf and zypper with a
# signed repository of small packages.
set -eu
export DEBIAN_FRONTEND=noninteractive HOME=/root
apt-get update -qq
apt-get install -y -qq --no-install-recommends rpm dnf dnf-plugins-core createrepo-c gnupg >/dev/null
# Debian's rpm has its database elsewhere, and zypper looks here.
echo '%_dbpath /var/lib/rpm' > /root/.rpmmacros
mkdir -p /var/lib/rpm /srv/repo /root/specs /etc/yum.repos.d /etc/zypp/repos.d
rpm --initdb
cd /root/specs
gpg --batch --quiet --passphrase '' --quick-generate-key 'Lab <lab@example.org>' rsa3072 sign 2y
gpg --armor --export > /srv/repo/key.asc
printf '%%_signature gpg\n%%_gpg_name lab@example.org\n%%__gpg /usr/bin/gpg\n' >> /root/.rpmmacros
package() {
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: test\nLicense: MIT\nBuildArch: noarch\n%s\n' "$1" "$2" "$3"
        printf '%%description\ntest\n%%install\nmkdir -p %%{buildroot}/usr/share/lab\necho %s > %%{buildroot}/usr/share/lab/%s\n' "$2" "$1"
        printf '%%files\n/usr/share/lab/%s\n' "$1"
    } > "$1.spec"
    rpmbuild -bb --quiet "$1.spec" >/dev/null 2>&1
}
# zypper insists on some package of that name.
package glibc 2.40 ''
package hello 1.0 ''
package hello 1.1 ''
package hello 2.0 ''
package hello-extra 1.0 'Requires: hello'
cp /root/rpmbuild/RPMS/noarch/*.rpm /srv/repo/
rpm --addsign /srv/repo/*.rpm >/dev/null 2>&1
createrepo_c -q /srv/repo
gpg --batch --yes --detach-sign --armor /srv/repo/repodata/repomd.xml
printf '[lab]\nname=lab\nbaseurl=file:///srv/repo\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file:///srv/repo/key.asc\n' |
    tee /etc/yum.repos.d/lab.repo > /etc/zypp/repos.d/lab.repo
rpm --import /srv/repo/key.asc
rm -f /etc/os-release
printf 'NAME="Fedora Linux"\nVERSION_ID=40\nID=fedora\nPRETTY_NAME="Fedora (the lab: Debian underneath)"\n' > /etc/os-release
