# Puts Debian's own RabbitMQ into an rpm that is like the one of the RabbitMQ team: where its files are, whose
# they are, and that it neither starts the broker nor makes a cookie. It goes to the repository of
# packages.sh.
set -eu
export HOME=/root
cd /root
apt-get update -qq
apt-get download -qq rabbitmq-server 2>/dev/null
dpkg-deb -x rabbitmq-server_*.deb deb
version=$(dpkg-deb -f rabbitmq-server_*.deb Version | sed 's/-.*//')
mkdir -p deb/usr/lib/systemd
[ ! -d deb/lib/systemd/system ] || mv deb/lib/systemd/system deb/usr/lib/systemd/
rm -rf deb/lib deb/etc deb/usr/share
mkdir -p deb/etc/rabbitmq deb/var/lib/rabbitmq/mnesia deb/var/log/rabbitmq
{
    cat <<SPEC
%define debug_package %{nil}
%define __os_install_post %{nil}
Name: rabbitmq-server
Version: $version
Release: 1
Summary: The RabbitMQ server
License: MPLv2.0
BuildArch: noarch
AutoReqProv: no
%description
Debian's files in a package like the RabbitMQ team's.
%install
cp -a /root/deb/. %{buildroot}/
%pre
getent group rabbitmq >/dev/null || groupadd -r rabbitmq
getent passwd rabbitmq >/dev/null || useradd -r -g rabbitmq -d /var/lib/rabbitmq -s /sbin/nologin -c "RabbitMQ messaging server" rabbitmq
%post
systemctl preset rabbitmq-server.service >/dev/null 2>&1 || :
systemctl daemon-reload
%preun
systemctl stop rabbitmq-server
%files
%defattr(-,root,root,-)
%attr(0755, rabbitmq, rabbitmq) %dir /var/lib/rabbitmq
%attr(0750, rabbitmq, rabbitmq) %dir /var/lib/rabbitmq/mnesia
%attr(0755, rabbitmq, rabbitmq) %dir /var/log/rabbitmq
%attr(2755, root, rabbitmq) %dir /etc/rabbitmq
SPEC
    find deb ! -type d -printf '"/%P"\n'
} > rabbitmq-server.spec
rpmbuild -bb --quiet rabbitmq-server.spec
mv /root/rpmbuild/RPMS/noarch/rabbitmq-server-*.rpm /srv/pinned/
rpm --define '_gpg_name pinned@example.org' --define '__gpg /usr/bin/gpg' --addsign /srv/pinned/rabbitmq-server-*.rpm >/dev/null
createrepo_c -q /srv/pinned
gpg --batch --yes --local-user pinned@example.org --detach-sign --armor /srv/pinned/repodata/repomd.xml
