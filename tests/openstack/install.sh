# The services' real packages, as far as they bring the files and a process that runs without a database.
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends python3-minimal
# Python compiles by itself what it runs: a minute less.
dpkg-divert --local --rename --add /usr/bin/py3compile
ln -s /bin/true /usr/bin/py3compile
apt-get install -q -y --no-install-recommends nova-common cinder-common neutron-metering-agent ceilometer-agent-notification
