# Prints what is at $path, after pin_judge: a line KIND MODE UID GID SIZE OWNER:GROUP, where KIND begins with
# `loose-` if others may write where it is; a line with a link's target or the content's digest; then the
# content where $show asks for it: `different` (than $digest) or `always`, up to $most bytes; `never` leaves
# the digest out too.
pin_alias "$owner" "$group"
# A task that gives the content makes a new file where this would be refused.
case $kind/$pin_kind in
  folder/directory | present/directory | present/regular*) pin_may_set "$owner" "$group" "$mode" ;;
esac
[ "$pin_trust" = yes ] && loose= || loose=loose-
seen="$pin_mode $pin_uid $pin_gid $pin_size $pin_user:$pin_group"
case $pin_kind in
  'symbolic link')
    printf '%slink %s\n' "$loose" "$seen"
    readlink -- "./$pin_name"
    exit 0
    ;;
  directory)
    if [ "$kind" = absent ]; then pin_may_take; fi
    printf '%sfolder %s\n-\n' "$loose" "$seen"
    exit 0
    ;;
  regular*) printf '%sfile %s\n' "$loose" "$seen" ;;
  *) printf '%sother %s\n-\n' "$loose" "$seen"; exit 0 ;;
esac
[ "$show" != never ] || { printf -- '-\n'; exit 0; }
if [ "$pin_trust" = yes ]; then
  # A short content, of $short bytes, is compared without a process. The size tells what the shell drops: NUL.
  if [ -n "$short" ] && [ "$pin_size" = "$short" ]; then
    there=
    while IFS= read -r line; do there="$there$line
"; done < "./$pin_name"
    if [ "$there$line" = "$content" ]; then printf '%s\n' "$digest"; exit 0; fi
  fi
  sum=$(sha256sum < "./$pin_name") || exit 1
elif pin_hard_links_are_safe || [ "$pin_uid" = "$pin_owner" ]; then
  # A user who may write here can swap it: no link and no pipe is opened.
  sum=$(pin_raw "$pin_size" | sha256sum) || exit 1
else
  printf -- '-\n'
  exit 0
fi
sum=${sum%% *}
printf '%s\n' "$sum"
[ "$pin_size" -le "$most" ] || exit 0
case $show in
  digest) exit 0 ;;
  different) [ "$sum" != "$digest" ] || exit 0 ;;
esac
# Where those who may write here couldn't read it, nothing follows.
pin_bytes "$pin_size" || exit 0
