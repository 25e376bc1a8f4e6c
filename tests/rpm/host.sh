# Makes a host look like one of the rpm families to whoever asks for packages: Debian underneath, with real
# rpm and dnf (and zypper, by suse.sh).
set -eu
export DEBIAN_FRONTEND=noninteractive HOME=/root
apt-get update -qq
apt-get install -y -qq --no-install-recommends rpm dnf dnf-plugins-core createrepo-c gnupg python3 >/dev/null
# Debian's rpm has its database elsewhere, and zypper looks here. Nor has it a repository of local packages.
mkdir -p /etc/rpm && echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
rm -f /etc/dnf/plugins/local.conf
mkdir -p /var/lib/rpm /etc/yum.repos.d /etc/zypp/repos.d /etc/pki/rpm-gpg
rpm --initdb
rm -f /etc/os-release
printf 'NAME="Fedora Linux"\nVERSION_ID=40\nID=fedora\nPRETTY_NAME="Fedora (the lab: Debian underneath)"\n' > /etc/os-release
