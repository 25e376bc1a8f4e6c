# What a rehearsal calls to say why its apply would fail: see rehearsed.rs for what it prints. Each line can
# be joined with the next, so that a script that comes behind keeps the numbers of its own lines.
__haflow_break=$(printf '\n.'); __haflow_break=${__haflow_break%.};
# Words of others may have line breaks.
__haflow_says() {
  __haflow_text=$2;
  while :; do
    case $__haflow_text in
      *"$__haflow_break"*)
        __haflow_text="${__haflow_text%%"$__haflow_break"*}?${__haflow_text#*"$__haflow_break"}" ;;
      *) break ;;
    esac;
  done;
  printf '%s %s\n' "$1" "$__haflow_text";
};
# fails WORDS [HINT]
fails() { __haflow_says fails "$1"; [ -z "${2-}" ] || __haflow_says hint "$2"; };
# lacks THING [WORDS [HINT]]
lacks() {
  __haflow_says lacks "$1";
  [ -z "${2-}" ] || __haflow_says says "$2";
  [ -z "${3-}" ] || __haflow_says hint "$3";
};
# unsure WORDS
unsure() { __haflow_says unsure "$1"; };
# reads THING…, of the reason before it; brings THING…; touches THING…
reads() { printf 'reads %s\n' "$@"; };
brings() { printf 'brings %s\n' "$@"; };
touches() { printf 'touches %s\n' "$@"; };
# shows: the lines of its input, of what a program said, belong to the reason before it.
shows() { sed 's/^/shows /'; };
