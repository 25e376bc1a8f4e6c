# Ends where what is at $path isn't what $was says: then nothing is changed. A path without anything costs no
# process.
case $was in
  absent*) if [ -e "$path" ] || [ -L "$path" ]; then echo moved; exit 0; fi ;;
  *) if [ "$(show=digest; file_look)" != "$was" ]; then echo moved; exit 0; fi ;;
esac
