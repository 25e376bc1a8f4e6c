# Ends the process group $group, the step whose folder is called $name, and all that these have started: TERM, and KILL for what is left after $grace tenths of a second. Prints the
# names of what was ended on a line and of what is left on another, then the last of what the step had printed. Almost without processes of its
# own: there is no ps on small systems.
own=$$
folder=
for place in /run /tmp /dev/shm; do
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
# Those to be ended, as number/start: also what has left its parents and its session, by its environment. What was found before stays found, unless a
# number has been used again.
found=' '
look() {
  all=$(list)
  marked=
  [ -z "$folder" ] || marked=$(grep -lsF "HAFLOW_STEP=$folder" /proc/[0-9]*/environ)
  before=$found
  found=' '
  grown=yes
  while [ -n "$grown" ]; do
    grown=
    while read -r pid parent in start name; do
      [ "$pid" != "$own" ] || continue
      case $found in *" $pid/"*) continue ;; esac
      take=
      [ "$in" != "$group" ] && [ "$pid" != "$step" ] || take=yes
      case $found in *" $parent/"*) take=yes ;; esac
      case $before in *" $pid/$start "*) take=yes ;; esac
      case $marked in *"/$pid/"*) take=yes ;; esac
      [ -z "$take" ] || { found="$found$pid/$start "; grown=yes; }
    done <<END
$all
END
  done
}
# Those of them that live.
alive() {
  while read -r pid parent in start name; do
    case $found in *" $pid/$start "*) ;; *) continue ;; esac
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
look
names
end TERM
tried=0
while [ -n "$(alive)" ]; do
  tried=$((tried + 1))
  [ "$tried" -lt "$grace" ] || break
  sleep 0.1 2>/dev/null || { sleep 1; tried=$((tried + 9)); }
done
# Once more, and again: what was told to end may have begun something.
tried=0
look
while [ -n "$(alive)" ] && [ "$tried" -lt 20 ]; do
  end KILL
  tried=$((tried + 1))
  sleep 0.1 2>/dev/null || { sleep 1; tried=$((tried + 9)); }
  look
done
names
if [ -n "$folder" ]; then
  [ ! -s "$folder/out" ] || tail -c 8192 -- "$folder/out"
  [ ! -s "$folder/err" ] || tail -c 8192 -- "$folder/err" >&2
fi
exit 0
