# Prints what is at $path: a line KIND MODE OWNER GROUP UID GID SIZE, a line with a link's target or the content's digest, then
# the content where $show asks for it: `different` (than $digest) or `always`, up to $most bytes; `never` leaves the digest out too.
# The shell can tell by itself, without a process, that nothing is there, where it may look into the folder.
if [ ! -e "$path" ] && [ ! -L "$path" ] && [ -d "${path%/*}" ] && [ -x "${path%/*}" ]; then
  printf 'absent\n-\n'
  exit 0
fi
follow=-L
[ "$links" = no ] || follow=
if ! seen=$(stat $follow -c '%F/%a %U %G %u %g %s' -- "$path" 2>&1); then
  case $seen in
    *'No such file or directory'* | *'Not a directory'*) printf 'absent\n-\n'; exit 0 ;;
  esac
  printf '%s\n' "$seen" >&2
  exit 1
fi
case $seen in
  'symbolic link/'*) printf 'link %s\n' "${seen#*/}"; readlink -- "$path"; exit 0 ;;
  directory/*) printf 'folder %s\n-\n' "${seen#*/}"; exit 0 ;;
  'regular file/'* | 'regular empty file/'*) printf 'file %s\n' "${seen#*/}" ;;
  *) printf 'other %s\n-\n' "${seen#*/}"; exit 0 ;;
esac
[ "$show" != never ] || { printf -- '-\n'; exit 0; }
# A short content, of $short bytes, is compared without a process. The size tells what the shell drops: NUL.
if [ -n "$short" ] && [ "${seen##* }" = "$short" ]; then
  there=
  while IFS= read -r line; do there="$there$line
"; done < "$path"
  if [ "$there$line" = "$content" ]; then printf '%s\n' "$digest"; exit 0; fi
fi
sum=$(sha256sum < "$path") || exit 1
sum=${sum%% *}
printf '%s\n' "$sum"
[ "${seen##* }" -le "$most" ] || exit 0
case $show in
  digest) exit 0 ;;
  different) [ "$sum" != "$digest" ] || exit 0 ;;
esac
cat -- "$path"
