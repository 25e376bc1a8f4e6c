# Makes the host of host.sh look like openSUSE. Debian's zypper and dnf-plugins-core can't both be installed.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends zypper >/dev/null
# zypper insists on some package of that name.
rpm -q glibc >/dev/null || rpm -i --nodeps "http://${repositories:-127.0.0.1}:8000/pinned/glibc-2.40-1.noarch.rpm" 2>/dev/null
printf 'NAME="openSUSE Leap"\nVERSION_ID=15.6\nID=opensuse-leap\nID_LIKE="suse opensuse"\nPRETTY_NAME="openSUSE (the lab: Debian underneath)"\n' > /etc/os-release
