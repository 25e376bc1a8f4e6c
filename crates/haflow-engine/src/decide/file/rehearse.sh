# Says what keeps a file from becoming what is wanted: see decide/rehearsed.rs for what it prints. Reads only.
# What it asked programs for it keeps for the next file of the same script.
file_fails() {
  fails "$1" "${2-}"
  reads "file:$path"
}
# Whether this runs as root. The owner of / says nothing: it may be anybody.
file_is_root() {
  if [ -z "$file_uid" ]; then
    while read -r pin_key pin_line pin_line file_uid pin_line; do
      case $pin_key in Uid:) break ;; esac
    done </proc/self/status
  fi
  [ "$file_uid" = 0 ]
}
# $1 lacks the account $2 of kind $1.
file_account() {
  case $2 in '' | *[!0-9]*) ;; *) return 0 ;; esac
  case "$2/$file_accounts " in /* | *" $1:$2 "*) return 0 ;; esac
  if [ "$1" = user ]; then set -- "$@" passwd 'user(host' ; else set -- "$@" group 'user_group(host'; fi
  if getent "$3" "$2" >/dev/null 2>&1; then
    file_accounts="$file_accounts $1:$2"
    return 0
  fi
  lacks "$1:$2" "there is no $1 $2" "declare it before this: $4, \"$2\")"
}
# Sets $file_mount to where the file system of $1 is mounted.
file_mounted() {
  file_mount=
  while read -r pin_id pin_above pin_device pin_root pin_point pin_line; do
    case $1/ in "${pin_point%/}"/*) [ "${#pin_point}" -lt "${#file_mount}" ] || file_mount=$pin_point ;; esac
  done 2>/dev/null </proc/self/mountinfo
}
# What is known of the working directory's file system.
file_see_room() {
  [ "$file_room_of" != "$PWD" ] || return 0
  file_room_of=$PWD
  set -- $(stat -f -c '%T %S %f %a %d %c %b' . 2>/dev/null)
  file_system=${1-} file_block=${2-} file_free= file_inodes=
  # One without a size has no end.
  if [ $# -eq 7 ] && [ "$7" -gt 0 ]; then
    # Only root has what is kept back for it.
    if file_is_root; then file_free=$(($2 * $3)); else file_free=$(($2 * $4)); fi
    [ "$6" -eq 0 ] || file_inodes=$5
    # What they compress takes less.
    case $file_system/$file_free in btrfs/0 | zfs/0) ;; btrfs/* | zfs/*) file_free= ;; esac
  fi
  file_flags=$(lsattr -d . 2>/dev/null) || file_flags=
  file_flags=${file_flags%% *}
}
# Says why $1, which is $2, can't be changed, though whoever runs this is root or owns it.
file_barred() {
  file_flagged=$(lsattr -d -- "$1" 2>/dev/null) || file_flagged=
  case ${file_flagged%% *} in
    *i*) file_fails "$2 is immutable" "\`chattr -i $2\` takes that off"; return ;;
  esac
  if file_is_root; then
    file_mounted "$PWD"
    file_fails "$2 is on a file system that is mounted read-only${file_mount:+, at $file_mount}" \
      'mount it for writing, or name another place'
  else
    file_fails "$(id -un 2>/dev/null) may not write in $2" \
      'leave out `user`, or give that user the right to write there'
  fi
}
# Says what only root may do, and whoever runs this isn't.
file_only_root() {
  ! file_is_root || return 0
  file_me=$(id -un)
  case $(id -u -- "$owner" 2>/dev/null)/$owner in
    */ | "$(id -u)"/* | "/$(id -u)") ;;
    *) file_fails "only root gives a file away, and this runs as $file_me" 'leave out `user`, or `owner`' ;;
  esac
  case "$group/ $(id -G) $(id -Gn) " in
    /* | */*" $group "*) ;;
    *) file_fails "$file_me isn't in the group $group" 'leave out `user`, or `group`' ;;
  esac
}
# In the folder that something is to be made in, or taken out of.
file_in_folder() {
  file_see_room
  case $file_system in
    proc | sysfs | mqueue | cgroupfs | cgroup2fs | securityfs | debugfs | tracefs | efivarfs | bpf_fs)
      file_fails "no file can be made in ${PWD}, which shows the kernel's own state ($file_system)" \
        'write to it with an ensure: its probe reads the file, its apply writes the value'
      return
      ;;
  esac
  if [ ! -w . ]; then
    file_barred . "$PWD"
    return
  fi
  case $file_flags in
    *a*) file_fails "in $PWD files can only be added to (append-only)" "\`chattr -a $PWD\` takes that off"; return ;;
  esac
  if [ "$kind" = absent ]; then return 0; fi
  if [ "${file_inodes:-1}" -eq 0 ]; then
    file_mounted "$PWD"
    file_fails "the file system of $PWD has no room for another file (its inodes are used up)" \
      "\`df -i $PWD\` shows it; take files away there"
    [ -z "$file_mount" ] || reads "file:$file_mount"
  elif [ -n "$file_free" ] && [ "${bytes:-0}" -gt "$file_free" ]; then
    file_mounted "$PWD"
    file_fails "the file system of $PWD has $file_free bytes free, and $path needs $bytes" \
      "make room there: \`df -h $PWD\` shows which disk it is"
    [ -z "$file_mount" ] || reads "file:$file_mount"
  elif [ -n "$file_free" ]; then
    # Whole blocks, of this file and of those before it. The old file goes only when the new one is there.
    file_free=$((file_free - (${bytes:-0} + file_block - 1) / file_block * file_block))
    [ -z "$file_inodes" ] || file_inodes=$((file_inodes - 1))
  fi
}
# What is at $pin_name in the working directory.
file_there() {
  if [ -L "./$pin_name" ] || [ ! -e "./$pin_name" ]; then return 0; fi
  if [ -z "$bytes" ] && [ "$kind" != absent ] && ! file_is_root && [ ! -O "./$pin_name" ]; then
    file_fails "${PWD%/}/$pin_name belongs to $(stat -c %U -- "./$pin_name"), and $(id -un) may not change it" \
      'leave out `user`'
    return
  fi
  case $kind/$bytes in
    absent/* | file/?*)
      if [ -k . ] && ! file_is_root && [ ! -O . ] && [ ! -O "./$pin_name" ]; then
        file_fails "in $PWD only its owner replaces a file or takes it away (sticky), and $path isn't $(id -un)'s" \
          'leave out `user`'
        return
      fi
      ;;
  esac
  if file_is_root && [ ! -w "./$pin_name" ]; then
    if [ -w . ] || [ "$kind" = present ]; then file_barred "./$pin_name" "${PWD%/}/$pin_name"; fi
    return
  fi
  file_flagged=$(lsattr -d -- "./$pin_name" 2>/dev/null) || file_flagged=
  case ${file_flagged%% *} in
    *a*) file_fails "$path can only be added to (append-only)" "\`chattr -a $path\` takes that off"; return ;;
  esac
  if [ "$kind" = absent ] && [ -d "./$pin_name" ]; then
    # Each line that isn't the heading of a folder is flags, a blank and a path.
    file_flagged=$(timeout 10 lsattr -aR -- "./$pin_name" 2>/dev/null | grep -m 1 '^[-a-zA-Z]*[ia][-a-zA-Z]* \./') ||
      file_flagged=
    [ -z "$file_flagged" ] ||
      file_fails "${PWD%/}/${file_flagged#* ./} is immutable or append-only" \
        "\`chattr -R -i -a $path\` takes that off"
    return
  fi
  [ -n "$bytes" ] && [ -f "./$pin_name" ] || return 0
  if [ "$(pin_mounted "${PWD%/}/$pin_name")" = "${PWD%/}/$pin_name" ]; then
    file_fails "something is mounted at $path, so nothing can take its place" \
      'write what is mounted there, where it comes from, or unmount it'
  fi
}
# Where the folder of $path isn't there: the working directory is the last one that is.
file_nowhere() {
  if [ -d "./$pin_part" ]; then
    file_fails "${PWD%/}/$pin_part can't be entered: permission denied"
  elif [ -e "./$pin_part" ] || [ -L "./$pin_part" ]; then
    file_fails "${PWD%/}/$pin_part isn't a folder, and $path is below it" \
      "name another place, or move it out of the way on the host"
  elif [ "$kind" = folder ]; then
    file_in_folder
  elif [ "$kind" != absent ]; then
    # By its real path: there may be links on the way.
    file_folder=${PWD%/}/$pin_part$pin_rest
    lacks "folder:$file_folder" "there is no folder $file_folder" \
      "declare it before this: folder(host, \"$file_folder\")"
    reads "file:${path%/*}"
  fi
}
file_at() {
  if [ "$kind" != absent ]; then file_only_root; fi
  case $kind in
    present) ;;
    folder) if [ ! -e "./$pin_name" ]; then file_in_folder; fi ;;
    file) if [ -n "$bytes" ]; then file_in_folder; fi ;;
    *) file_in_folder ;;
  esac
  file_there
}
file_rehearse() {
  file_account user "$owner"
  file_account group "$group"
  # Without a link on the way what was asked for one file serves the next.
  file_folder=${path%/*}
  file_folder=${file_folder:-/}
  pin_name=${path##*/}
  # A folder that isn't there is looked for once for all of its files.
  case $kind/$follow/$file_folder in
    "$file_gone")
      printf '%s\n' "$file_said"
      ;;
    *)
      file_gone=$kind/$follow/$file_folder
      ! cd -P -- "$file_folder" 2>/dev/null || file_gone=
      if [ "$PWD" = "$file_folder" ] && { [ "$follow" != yes ] || [ ! -L "./$pin_name" ]; }; then
        file_at
      else
        file_said=$(
          exec 2>/dev/null
          pin_follow=$follow
          if pin_find "$path"; then file_at; else file_nowhere; fi
        )
        case $file_said in "lacks folder:"*) ;; *) file_gone= ;; esac
        [ -z "$file_said" ] || printf '%s\n' "$file_said"
      fi
      ;;
  esac
  cd /
  [ -z "$validate" ] || file_validate
}
# Ends where the checker refuses the new content.
file_refuse_invalid() {
  file_said=$(file_validate)
  case $file_said in
    fails*)
      file_said=${file_said%%"$pin_newline"*}
      pin_refuse "${file_said#fails }" 'the file is as it was'
      ;;
  esac
}
# Runs the checker of the new content, on a copy in a folder of its own.
file_validate() {
  for file_run in /run /dev/shm "${TMPDIR:-/tmp}"; do [ ! -w "$file_run" ] || break; done
  (
    umask 077
    file_private=$(mktemp -d "$file_run/haflow.XXXXXXXX") || exit 1
    trap 'rm -rf -- "$file_private"' EXIT
    trap 'exit 143' HUP INT TERM
    candidate=$file_private/${path##*/}
    printf '%s' "$wanted" > "$candidate" || exit 1
    file_said=$( (eval "$validate") 2>&1 </dev/null) && exit
    file_exit=$?
    file_words=
    while IFS= read -r file_line; do
      # It is the file that is meant.
      while :; do
        case $file_line in
          *"$candidate"*) file_line=${file_line%%"$candidate"*}$path${file_line#*"$candidate"} ;;
          *) break ;;
        esac
      done
      [ -z "$file_line" ] || file_words="$file_words$file_line$pin_newline"
    done <<LINES
$file_said
LINES
    # It may quote what isn't to be shown.
    [ "$secret" != yes ] || file_words=
    # Checkers say first what is wrong, and last that something is.
    # What else a checker reads isn't known; one that isn't there comes with a package.
    if [ "$file_exit" -eq 127 ]; then
      file_fails "the checker of $path isn't there${file_words:+: }${file_words%%"$pin_newline"*}" \
        'declare the package that it comes with before this'
      reads package
    else
      file_fails "the new content of $path is refused${file_words:+: }${file_words%%"$pin_newline"*}"
      reads '*'
    fi
    printf '%s' "$file_words" | shows
  )
}
