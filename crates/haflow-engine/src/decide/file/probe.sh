# Prints what is at $path as show.sh does, or `absent` and a line with a dash. The shell can tell by itself,
# without a process, that nothing is there, where it may look into the folder.
pin_follow=$follow
if ! pin_find "$path"; then
  if [ -d "./$pin_part" ]; then pin_refuse "${PWD%/}/$pin_part can't be entered: permission denied"; fi
  printf 'absent\n-\n'
  exit 0
fi
if [ ! -e "./$pin_name" ] && [ ! -L "./$pin_name" ]; then
  printf 'absent\n-\n'
  exit 0
fi
pin_judge "$pin_name"
if [ "$pin_there" = no ]; then
  # It went just now, or can't be seen.
  if seen=$(stat -- "./$pin_name" 2>&1); then pin_refuse "$path came back while it was looked at"; fi
  case $seen in
    *'No such file or directory'* | *'Not a directory'*) printf 'absent\n-\n'; exit 0 ;;
  esac
  printf '%s\n' "$seen" >&2
  exit 1
fi
