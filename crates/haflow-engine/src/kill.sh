# Ends the process group $group, the step whose folder is called $name, and all that these have started: TERM, and KILL for what is left after $grace tenths of a second. Prints the
# names of what was ended on a line and of what is left on another, then the last of what the step had printed. Without a process of its own, but
# for the pauses: there is no ps on small systems.
own=$$
folder=
for place in /run /dev/shm /tmp; do
  [ -z "$name" ] || [ ! -O "$place/$name" ] || folder=$place/$name
done
step=
[ -z "$folder" ] || [ ! -s "$folder/pid" ] || read -r step <"$folder/pid"
# All processes: number, parent, group, start and name, on a line each.
list() {
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    pid=${line%% *}
    name=${line#*\(}
    name=${name%\)*}
    set -- ${line##*\) }
    printf '%s %s %s %s %s\n' "$pid" "$2" "$3" "${20}" "$name"
  done
}
all=$(list)
found=' '
[ -z "$step" ] || found=" $step "
grown=yes
while [ -n "$grown" ]; do
  grown=
  while read -r pid parent in start name; do
    [ "$pid" != "$own" ] || continue
    case $found in *" $pid "*) continue ;; esac
    take=
    [ "$in" != "$group" ] || take=yes
    case $found in *" $parent "*) take=yes ;; esac
    [ -z "$take" ] || { found="$found$pid "; grown=yes; }
  done <<END
$all
END
done
# Those of them that live, unless a number has been used again.
alive() {
  while read -r pid parent in start name; do
    case $found in *" $pid "*) ;; *) continue ;; esac
    { read -r line <"/proc/$pid/stat"; } 2>/dev/null || continue
    set -- ${line##*\) }
    [ "$1" = Z ] || [ "${20}" != "$start" ] || printf '%s %s\n' "$pid" "$name"
  done <<END
$all
END
}
end() {
  alive | while read -r pid name; do kill "-$1" "$pid" 2>/dev/null; done
}
names() {
  alive | while read -r pid name; do printf '%s ' "$name"; done
  printf '\n'
}
names
end TERM
tried=0
while [ -n "$(alive)" ]; do
  tried=$((tried + 1))
  [ "$tried" -lt "$grace" ] || break
  sleep 0.1 2>/dev/null || { sleep 1; tried=$((tried + 9)); }
done
end KILL
tried=0
while [ -n "$(alive)" ] && [ "$tried" -lt 20 ]; do
  tried=$((tried + 1))
  sleep 0.1 2>/dev/null || { sleep 1; tried=20; }
done
names
if [ -n "$folder" ]; then
  [ ! -s "$folder/out" ] || tail -c 8192 -- "$folder/out"
  [ ! -s "$folder/err" ] || tail -c 8192 -- "$folder/err" >&2
fi
exit 0
