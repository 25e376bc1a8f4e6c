# Makes the host of the other script look like openSUSE. Debian's zypper and dnf-plugins-core can't both be installed.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends zypper >/dev/null
rpm -i --nodeps /srv/repo/glibc-*.rpm 2>/dev/null
printf 'NAME="openSUSE Leap"\nVERSION_ID=15.6\nID=opensuse-leap\nID_LIKE="suse opensuse"\nPRETTY_NAME="openSUSE (the lab: Debian underneath)"\n' > /etc/os-release
zypper -n refresh >/dev/null
