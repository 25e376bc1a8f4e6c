# Puts $wanted at $path in one step: whoever reads sees the old file or the new one, whole, also after a power
# cut.
set -eu
# The shell's own printf costs no process, but doesn't say what went wrong: cat does.
pin_fill() { printf '%s' "$wanted" 2>/dev/null || { printf '%s' "$wanted" | cat; return 1; }; }
pin_follow=$follow
pin_put "$path" "$owner" "$group" "$mode"
set +eu
