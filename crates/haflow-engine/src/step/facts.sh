# Prints the standard facts as lines of NAME=VALUE. Reads only.
if [ -r /etc/os-release ]; then
  sed -n -e 's/^ID=/os=/p' -e 's/^VERSION_ID=/os_version=/p' -e 's/^VERSION_CODENAME=/os_codename=/p' \
    -e 's/^PRETTY_NAME=/os_name=/p' -e 's/^ID_LIKE=/os_like=/p' /etc/os-release
fi
printf 'arch=%s\nkernel=%s\nhostname=%s\n' "$(uname -m)" "$(uname -r)" "$(uname -n)"
# Some distributions have others' tools too: their own comes first.
case " $(sed -n -e 's/^ID=//p' -e 's/^ID_LIKE=//p' /etc/os-release 2>/dev/null | tr -d "\"'" | tr '\n' ' ')" in
  *' fedora'* | *' rhel'* | *' centos'*) own='dnf yum' ;;
  *' suse'* | *' sles'* | *' opensuse'*) own=zypper ;;
  *) own= ;;
esac
for tool in $own apt-get dnf yum zypper; do
  if command -v "$tool" >/dev/null 2>&1; then
    printf 'packages=%s\n' "${tool%-get}"
    break
  fi
done
[ -d /run/systemd/system ] && printf 'init=systemd\n'
printf 'user=%s\nuid=%s\n' "$(id -un)" "$(id -u)"
printf 'cpus=%s\n' "$(getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c ^processor /proc/cpuinfo)"
sed -n 's/^MemTotal: *\([0-9]*\) kB$/memory_kb=\1/p' /proc/meminfo
exit 0
