# Waits for the end of the step whose folder is $folder, and prints how it ended: `ended` and its exit code on
# a line, then what it printed; `gone` where nobody knows; `void` where it had not begun, and now never will.
if mkdir -m 700 -- "$folder" 2>/dev/null; then
  # For whoever asks once more, since this run died too.
  true 2>/dev/null >"$folder/void"
  printf 'void\n'
  exit 0
fi
# Where everybody may make one, it may be somebody else's.
if ! __haflow_own "$folder"; then
  printf 'gone\n'
  exit 0
fi
if [ -e "$folder/void" ]; then
  printf 'void\n'
  exit 0
fi
# Whether the keeper is there: a process number is used again, its command line isn't.
runs() {
  pid=
  [ ! -s "$folder/pid" ] || read -r pid <"$folder/pid"
  if [ -n "$pid" ]; then
    __haflow_keeps "$pid" "$folder"
    return
  fi
  # It hasn't said its number yet, or couldn't.
  for pid in /proc/[0-9]*; do
    ! __haflow_keeps "${pid#/proc/}" "$folder" || return 0
  done
  return 1
}
missed=0
until [ -s "$folder/exit" ]; do
  # A keeper that has just been started hasn't said its number yet.
  if runs; then missed=0; else missed=$((missed + 1)); fi
  if [ "$missed" -gt 20 ]; then
    printf 'gone\n'
    exit 0
  fi
  sleep 0.1 2>/dev/null || sleep 1
done
read -r exit <"$folder/exit"
printf 'ended %s\n' "$exit"
__haflow_printed "$folder" out
__haflow_printed "$folder" err >&2
exit 0
