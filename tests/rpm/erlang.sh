# What RabbitMQ needs, from Debian; and as on these families, no service is enabled by being installed.
set -eu
export DEBIAN_FRONTEND=noninteractive
mkdir -p /usr/lib/systemd/system-preset
echo 'disable *' > /usr/lib/systemd/system-preset/99-default-disable.preset
apt-get install -y -qq --no-install-recommends \
    $(apt-cache depends rabbitmq-server | sed -n 's/^ *Depends: \(erlang-[a-z-]*\|socat\|logrotate\)$/\1/p') >/dev/null
