# What each lane is given before its first script: what it is to know of processes, from /proc and without
# processes of its own, and of steps. A process may call itself what it likes, with blanks, brackets and line
# breaks: nothing of that is taken for a number, and nothing is expanded. Of process $1 its __haflow_state,
# __haflow_parent, __haflow_group, __haflow_start and __haflow_name; fails where there is none. They are
# behind the last bracket of the file: a number is no bracket.
__haflow_process() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  __haflow_all=
  while IFS= read -r __haflow_line || [ -n "$__haflow_line" ]; do
    __haflow_all="$__haflow_all$__haflow_line "
  done 2>/dev/null <"/proc/$1/stat" || return 1
  __haflow_name=${__haflow_all#*\(}
  __haflow_name=${__haflow_name%\)*}
  case $- in *f*) __haflow_line= ;; *) __haflow_line=yes ;; esac
  set -f
  set -- ${__haflow_all##*\)}
  [ -z "$__haflow_line" ] || set +f
  __haflow_state=${1-} __haflow_parent=${2-} __haflow_group=${3-} __haflow_start=${20-}
  for __haflow_line in "$__haflow_parent" "$__haflow_group" "$__haflow_start"; do
    case $__haflow_line in '' | *[!0-9]*) return 1 ;; esac
  done
}
# Whose process $1 is: __haflow_owner is a number; `mixed` of one that is another user's in part, as passwd(1)
# is while it runs.
__haflow_owner() {
  __haflow_owner=
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  while read -r __haflow_line __haflow_real __haflow_effective __haflow_saved __haflow_all; do
    [ "$__haflow_line" = Uid: ] || continue
    __haflow_owner=mixed
    [ "$__haflow_real" != "$__haflow_effective" ] || [ "$__haflow_real" != "$__haflow_saved" ] ||
      __haflow_owner=$__haflow_real
    break
  done 2>/dev/null <"/proc/$1/status"
  [ -n "$__haflow_owner" ]
}
# What process $1 was started with, in one piece, is __haflow_command.
__haflow_command() {
  __haflow_command=
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  while IFS= read -r __haflow_line || [ -n "$__haflow_line" ]; do
    __haflow_command="$__haflow_command$__haflow_line "
  done 2>/dev/null <"/proc/$1/cmdline"
  [ -n "$__haflow_command" ]
}
# Whether process $1 is the keeper of the step in the folder $2, and runs as the lane's user.
__haflow_keeps() {
  __haflow_command "$1" || return 1
  case $__haflow_command in *"$2"*) ;; *) return 1 ;; esac
  __haflow_owner "$1" && [ "$__haflow_owner" = "$__haflow_uid" ]
}
# Ends the lane's shell $1, of which __haflow_process has told, and what else is in its process group: the
# script that a fork of it runs. That gets TERM, so that it tidies up, and KILL after two seconds. Keepers
# have sessions of their own and go on. Where this lane is in the same group, only the shell is ended.
__haflow_end_lane() {
  __haflow_lane=$__haflow_group
  __haflow_tries=0
  kill -KILL "$1" 2>/dev/null
  __haflow_process $$
  [ "$__haflow_group" != "$__haflow_lane" ] && kill -TERM "-$__haflow_lane" 2>/dev/null || return 0
  while [ "$__haflow_tries" -lt 20 ]; do
    kill -0 "-$__haflow_lane" 2>/dev/null || return 0
    __haflow_tries=$((__haflow_tries + 1))
    sleep 0.1 2>/dev/null || { sleep 1; __haflow_tries=$((__haflow_tries + 9)); }
  done
  kill -KILL "-$__haflow_lane" 2>/dev/null
}
# Whether $1 is a folder, and not a link, that is the lane's user's own.
__haflow_own() { [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; }
# What the step in the folder $1 printed to its $2, or the last $3 bytes of that. Of much there are the
# beginning and the end.
__haflow_printed() {
  if [ -n "${3-}" ]; then
    if [ -e "$1/$2.b" ]; then
      cat -- "$1/$2.a" "$1/$2.b" 2>/dev/null | tail -c "$3"
    else
      [ ! -s "$1/$2" ] || tail -c "$3" -- "$1/$2"
    fi
    return
  fi
  [ ! -s "$1/$2" ] || cat -- "$1/$2"
  [ -e "$1/$2.b" ] || return 0
  printf '\n... haflow left out what came here: of what a step prints, the host keeps the first MiB and the last one or two ...\n'
  [ ! -s "$1/$2.a" ] || cat -- "$1/$2.a"
  [ ! -s "$1/$2.b" ] || cat -- "$1/$2.b"
}
__haflow_owner $$ || __haflow_owner=$(id -u)
__haflow_uid=$__haflow_owner
