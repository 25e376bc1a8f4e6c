# Works on paths that somebody else may have a hand in: the one place that knows how. haflow's own scripts and
# stdlib's get this text.
#
# A folder is entered once and is the working directory from then on: what is in it is ./NAME, and nobody can
# put another folder in its way. A folder is *trusted* where it and all above it belong to root, or to whom
# this runs as, and nobody else may write in them. In a trusted folder a name is as good as what it stands
# for. Anywhere else a name can be given to something else at any moment, so what is new is made in a folder
# of our own (mode 0700) and moved from there, and what is there already is held by a link to it in that
# folder, which nobody else can take away.
#
# All names begin with pin_. Public: pin_write, pin_own, pin_folder, pin_copy, pin_remove, pin_read, pin_see,
# pin_foresee, pin_trusted; each is a shell of its own.
pin_never_over=
unset TIME_STYLE QUOTING_STYLE
pin_newline='
'

# Ends with a message and, perhaps, a hint. haflow knows the exit code.
pin_refuse() {
    printf 'haflow: %s\n' "$1" >&2
    [ -z "${2-}" ] || printf 'hint: %s\n' "$2" >&2
    exit 77
}

# Goes to the folder of $1 and sets $pin_name. Fails where that folder isn't there, in the last one that is.
pin_go() {
    case $1 in /*) ;; *) pin_refuse "$1 isn't an absolute path" ;; esac
    pin_name=$1
    while :; do
        case $pin_name in
            ?*/) pin_name=${pin_name%/} ;;
            //*) pin_name=${pin_name#/} ;;
            *) break ;;
        esac
    done
    pin_rest=${pin_name%/*}
    pin_name=${pin_name##*/}
    case $pin_name in '' | . | ..) pin_refuse "$1 can't be worked on: it doesn't end in a name" ;; esac
    # The shell's cd tells without a process whether there is a link on the way.
    if cd -P -- "${pin_rest:-/}" 2>/dev/null && [ "$PWD" = "${pin_rest:-/}" ]; then return 0; fi
    cd / || pin_refuse "/ can't be entered"
    while [ -n "$pin_rest" ]; do
        pin_rest=${pin_rest#/}
        pin_part=${pin_rest%%/*}
        case $pin_rest in */*) pin_rest=/${pin_rest#*/} ;; *) pin_rest= ;; esac
        case $pin_part in
            '' | .) continue ;;
            ..) cd -P .. || return 1; continue ;;
        esac
        if [ -L "./$pin_part" ]; then
            pin_link "$pin_part"
            case $pin_target in /*) cd / ;; esac
            pin_rest=/$pin_target$pin_rest
        else
            pin_into "$pin_part" || return 1
        fi
    done
}

# Goes into the folder ./$1, which is no link.
pin_into() {
    pin_above=${PWD%/}
    cd -P -- "./$1" 2>/dev/null || return 1
    [ "$PWD" = "$pin_above/$1" ] || pin_refuse "$pin_above/$1 became a link while it was looked at"
}

# Sets $pin_target to where the link ./$1 leads. Only a trusted folder's links lead anywhere.
pin_link() {
    pin_links=$((pin_links + 1))
    [ "$pin_links" -le 20 ] || pin_refuse "$pin_path leads through more than 20 links"
    pin_judge
    [ "$pin_trust" = yes ] || pin_refuse \
        "${PWD%/}/$1 is a link on the way to $pin_path, and no link is followed there: $pin_says" \
        "name the place itself, or let the task run as the folder's owner, with the option \`user\`"
    pin_target=$(readlink -n -- "./$1" && echo .) || pin_refuse "the link ${PWD%/}/$1 can't be read"
    pin_target=${pin_target%.}
}

# Refuses the link $1, where $2 is wanted. After pin_judge.
pin_refuse_link() {
    [ "$pin_trust" = yes ] || pin_refuse \
        "there is a link at $1, where $2 is wanted, and no link is followed there: $pin_says" \
        "the option \`follow: true\` doesn't help there: name the place itself, or let the task run as the folder's \
owner, with the option \`user\`"
    pin_refuse "there is a link at $1, where $2 is wanted" \
        "the option \`follow: true\` works through it, if nobody else could have made it"
}

# Goes to the folder of $1, and with $pin_follow to that of what it is a link to. Fails where that isn't
# there.
pin_find() {
    pin_path=$1
    pin_links=0
    pin_go "$1" || return 1
    while [ "${pin_follow-}" = yes ] && [ -L "./$pin_name" ]; do
        pin_link "$pin_name"
        case $pin_target in /*) ;; *) pin_target=${PWD%/}/$pin_target ;; esac
        pin_go "$pin_target" || return 1
    done
}

# Says of the working directory whether it is trusted ($pin_trust) and else why not ($pin_says); whose it is
# ($pin_owner), if it is one user's only; and of ./$1, if that is given, what it is. All of it by one process.
pin_judge() {
    pin_stat ${1:+"./$1"}
    pin_weigh
}

# Sets $pin_seen to what pin_weigh reads: a line for each folder from / to the working directory, $pin_depth
# of them, one for that directory itself, and one for each of the paths.
pin_stat() {
    pin_paths=$#
    set -- "$@" /
    pin_dir=
    pin_left=${PWD#/}
    while [ -n "$pin_left" ]; do
        pin_dir=$pin_dir/${pin_left%%/*}
        set -- "$@" "$pin_dir"
        case $pin_left in */*) pin_left=${pin_left#*/} ;; *) pin_left= ;; esac
    done
    pin_depth=$(($# - pin_paths))
    set -- "$@" .
    while [ "$pin_paths" -gt 0 ]; do
        set -- "$@" "$1"
        shift
        pin_paths=$((pin_paths - 1))
    done
    pin_seen=$(stat -c '%u %g %a %d:%i %h %s /%F:%U:%G' -- "$@" 2>/dev/null) || :
}

# Sets $pin_dir to one of the folders from / to the working directory: to the $1th, of which / is the first
# (and empty).
pin_nth() {
    pin_dir=
    pin_left=$PWD
    set -- "$(($1 - 1))"
    while [ "$1" -gt 0 ]; do
        pin_left=${pin_left#/}
        pin_dir=$pin_dir/${pin_left%%/*}
        pin_left=/${pin_left#*/}
        set -- "$(($1 - 1))"
    done
}

# Says what pin_judge says, from $pin_seen with a line for at most one path.
pin_weigh() {
    case $- in *f*) pin_glob=f ;; *) pin_glob= ;; esac
    pin_ifs=$IFS
    set -f
    IFS=$pin_newline
    set -- $pin_seen
    IFS=' '
    pin_trust=yes
    pin_says=
    pin_owner=
    pin_writers=
    pin_there=no
    pin_count=0
    pin_id=
    for pin_line; do
        pin_count=$((pin_count + 1))
        if [ "$pin_count" -le "$pin_depth" ]; then
            if [ "$pin_count" -eq "$pin_depth" ]; then
                pin_here=${pin_line#* * * }
                pin_here=${pin_here%% *}
            fi
            pin_open=${pin_line#* * }
            case $pin_line/${pin_open%% *} in
                *[2367]? | *[2367]) pin_open=yes ;;
                # Root's, and nobody else may write there, as in most places: that is all.
                '0 '*) continue ;;
                *) pin_open=no ;;
            esac
            set -- ${pin_line%%/*}
            pin_names=${pin_line#*/}
            pin_nth "$pin_count"
            if [ "$1" != 0 ] && [ ! -O "${pin_dir:-/}" ]; then
                [ -n "$pin_says" ] || {
                    pin_says=${pin_names#*:}
                    pin_says="${pin_dir:-/} belongs to ${pin_says%:*}"
                }
                pin_trust=no
                case $pin_owner in '' | "$1") pin_owner=$1 ;; *) pin_owner=many ;; esac
                pin_writer "+$1"
                [ "$pin_open" = no ] || {
                    pin_owner=many
                    pin_writer_by "$3" "$2"
                }
            elif [ "$pin_open" = yes ]; then
                # A sticky folder is a way through: what is in it is its owner's to rename, which is looked at
                # next.
                case $pin_count/$3 in
                    "$pin_depth"/* | */??? | */[0246]???)
                        [ -n "$pin_says" ] || pin_says="others may write in ${pin_dir:-/}"
                        pin_trust=no
                        pin_owner=many
                        pin_writer_by "$3" "$2"
                        ;;
                esac
            fi
        elif [ "$pin_count" -eq $((pin_depth + 1)) ]; then
            pin_id=${pin_line#* * * }
            pin_id=${pin_id%% *}
            [ "$pin_id" = "$pin_here" ] || break
        else
            # Names may have blanks.
            set -- ${pin_line%%/*}
            pin_names=${pin_line#*/}
            pin_there=yes
            pin_uid=$1
            pin_gid=$2
            pin_mode=$3
            pin_inode=$4
            pin_hard=$5
            pin_size=$6
            pin_kind=${pin_names%%:*}
            pin_user=${pin_names#*:}
            pin_user=${pin_user%:*}
            pin_group=${pin_names##*:}
        fi
    done
    IFS=$pin_ifs
    [ -n "$pin_glob" ] || set +f
    [ -n "$pin_id" ] && [ "$pin_id" = "$pin_here" ] ||
        pin_refuse "the folder of ${pin_path:-$PWD} was moved while it was looked at" "run it again; who does that?"
}

# Two names for one number are one owner: where ./$pin_name, after pin_judge, is what the names $1 and $2
# stand for, $pin_user and $pin_group are these.
pin_alias() {
    if [ -n "$1" ] && [ "$1" != "$pin_user" ] && [ "$1" != "$pin_uid" ]; then
        if [ "$(id -u -- "$1" 2>/dev/null)" = "$pin_uid" ]; then pin_user=$1; fi
    fi
    if [ -n "$2" ] && [ "$2" != "$pin_group" ] && [ "$2" != "$pin_gid" ]; then
        pin_line=$(getent group "$2" 2>/dev/null)
        pin_line=${pin_line#*:*:}
        if [ "${pin_line%%:*}" = "$pin_gid" ]; then pin_group=$2; fi
    fi
}

# Adds $1 to those who may write on the way, each as chroot's userspec.
pin_writer() {
    case " $pin_writers " in *" $1 "*) ;; *) pin_writers="$pin_writers $1" ;; esac
}

# Adds those whom mode $1 lets write besides the owner: members of group $2, or everybody.
pin_writer_by() {
    pin_writer "+65534:+$2"
    case $1 in
        *[2367]) pin_writer +65534:+65534 ;;
        # An ACL may let anybody write.
        *) if pin_has_acl "${pin_dir:-/}"; then pin_writer +65534:+65534; fi ;;
    esac
}

# Whether a name here can only be a hard link to what its maker may write, and not to anything.
pin_hard_links_are_safe() {
    [ "$pin_hard" -eq 1 ] || return 1
    pin_protected=0
    read -r pin_protected 2>/dev/null </proc/sys/fs/protected_hardlinks || :
    [ "$pin_protected" = 1 ]
}

# Prints which of the system's folders $1 is, if it is one.
pin_system() {
    pin_mine=
    stat -c '%d:%i %n' -- "$1" $pin_system_folders 2>/dev/null | while read -r pin_inode pin_line; do
        if [ -z "$pin_mine" ]; then
            pin_mine=$pin_inode
        elif [ "$pin_inode" = "$pin_mine" ]; then
            printf '%s' "$pin_line"
            break
        fi
    done
}

# Prints the content of the regular file ./$pin_name, at most $1 bytes of it. After pin_judge "$pin_name". In
# a folder that isn't trusted only what those may read who may write there. Fails, silently, where that is
# nothing.
pin_bytes() {
    if [ "$pin_trust" = yes ]; then
        if [ "$pin_size" -le "$1" ]; then cat -- "./$pin_name"; else head -c "$1" -- "./$pin_name"; fi
        return
    fi
    if [ -O / ]; then
        # The kernel decides: it is read as one of those who may write there, if each of them can. The process
        # is that user's then, so it gets nothing of ours: no environment, and no stream but a pipe, of which
        # no more is taken than there was.
        [ "$pin_uid" != 65534 ] || [ "$pin_owner" = 65534 ] || return 1
        for pin_spec in $pin_writers; do
            case $pin_spec in *:*) pin_groups=--groups= ;; *) pin_groups=--skip-chdir ;; esac
            case $pin_writers in
                *" $pin_spec") set -- "$1" "--userspec=$pin_spec" "$pin_groups" ;;
                *)
                    env -i "PATH=$PATH" chroot "--userspec=$pin_spec" "$pin_groups" --skip-chdir / \
                        dd "if=./$pin_name" iflag=nofollow,nonblock count=0 status=none \
                        </dev/null >/dev/null 2>&1 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- || return 1
                    ;;
            esac
        done
        if [ "$pin_size" -lt "$1" ]; then
            shift
            set -- "$pin_size" "$@"
        fi
        pin_count=$1
        shift
        {
            pin_seen=$({
                {
                    env -i "PATH=$PATH" chroot "$@" --skip-chdir / \
                        dd "if=./$pin_name" iflag=nofollow,nonblock,count_bytes "count=$pin_count" bs=64k status=none \
                        </dev/null 2>/dev/null 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
                    echo $? >&4
                } | head -c "$pin_count" >&5
            } 4>&1)
        } 5>&1
        [ "$pin_seen" = 0 ]
        return
    fi
    pin_hard_links_are_safe || return 1
    [ "$pin_uid" = "$pin_owner" ] || case $pin_mode in *[4567]) ;; *) return 1 ;; esac
    pin_raw "$1"
}

# The same, of whatever is readable: for what is compared only.
pin_raw() {
    if [ "$pin_trust" = yes ]; then
        cat -- "./$pin_name"
    else
        dd "if=./$pin_name" iflag=nofollow,nonblock,count_bytes "count=$1" bs=64k status=none 2>/dev/null
    fi
}

# The same; ends where there is no such folder.
pin_enter() {
    pin_find "$1" && return
    pin_lack=${PWD%/}/$pin_part
    if [ -d "./$pin_part" ]; then pin_refuse "$pin_lack can't be entered: permission denied"; fi
    if [ -e "./$pin_part" ]; then pin_refuse "$pin_lack isn't a folder"; fi
    pin_lack=${1%/*}
    pin_refuse "there is no folder $pin_lack" "declare it before this: folder(host, \"$pin_lack\")"
}

# What is new is made at $pin_new, and goes to $pin_out; what is there is $pin_old. After pin_judge
# "$pin_name".
pin_begin() {
    pin_stage=
    # A folder's default ACL goes on to what is new in it, whatever the umask is: others could open it before
    # its mode is set. So there it is made in a folder that nobody else can enter.
    pin_acl=no
    if [ "$pin_trust" = yes ] && pin_has_acl .; then pin_acl=yes; fi
    if [ "$pin_trust" = yes ] && [ "$pin_acl" = no ]; then
        pin_sweep
        pin_new=./.haflow-$$-new
        pin_out=./$pin_name
        pin_old=$pin_out
        if [ -e "$pin_new" ] || [ -L "$pin_new" ]; then rm -rf -- "$pin_new"; fi
        trap pin_tidy EXIT
        trap 'pin_tidy; exit 129' HUP INT PIPE TERM
        return
    fi
    pin_top=$PWD
    pin_try=0
    while ! pin_seen=$(mkdir -m 700 -- "./.haflow-$$-$pin_try" 2>&1); do
        pin_try=$((pin_try + 1))
        [ "$pin_try" -lt 20 ] || pin_refuse "nothing can be made in $PWD: $pin_seen"
    done
    pin_into ".haflow-$$-$pin_try" || pin_refuse "a folder that was made in $pin_top was taken away at once: $pin_says"
    # Is it the one that was made, and is what is above it the folder that was entered?
    pin_seen=$(stat -c '%a %d:%i' -- . ..)
    case $pin_seen in
        "700 "*"$pin_newline"*" $pin_id" | "2700 "*"$pin_newline"*" $pin_id") ;;
        *) pin_refuse "a folder that was made in $pin_top was swapped for another: $pin_says" ;;
    esac
    [ -O . ] && [ -z "$(ls -A .)" ] ||
        pin_refuse "a folder that was made in $pin_top was swapped for another: $pin_says"
    pin_stage=.haflow-$$-$pin_try
    # An ACL that comes from here is of those who may write here, and nobody asked for it. The stage shows
    # what it was given when it was made.
    if [ "$pin_trust" = no ] && pin_has_acl .; then
        pin_seen=$(setfacl -b -k -- . 2>&1) && ! pin_has_acl . || {
            cd -P .. && rmdir -- "./$pin_stage"
            pin_refuse \
                "an ACL of its folder lets others into what shall be at $pin_path, and can't be taken off: $pin_seen" \
                "install setfacl (Debian's package is acl), or take the folder's default ACL off"
        }
    fi
    pin_new=./new
    pin_out=../$pin_name
    pin_old=./old
    trap pin_tidy EXIT
    trap 'pin_tidy; exit 129' HUP INT PIPE TERM
}

# Removes what was being made in the working directory, which is trusted, a day ago or before: a power cut
# left it.
pin_sweep() {
    for pin_line in ./.haflow-*-new; do
        if [ -e "$pin_line" ] && [ -n "$(find "$pin_line" -maxdepth 0 -mmin +1440 2>/dev/null)" ]; then
            rm -rf -- "$pin_line"
        fi
    done
}

# Holds what is at ./$pin_name as $pin_old.
pin_hold() {
    [ -n "$pin_stage" ] || return 0
    pin_seen=$(ln -P -- "$pin_out" ./old 2>&1) || pin_refuse "$pin_path can't be held on to: $pin_seen" "$pin_says"
    pin_seen=$(stat -c '%d:%i %u %g %a %h' -- ./old) || exit 1
    [ "$pin_seen" = "$pin_inode $pin_uid $pin_gid $pin_mode $((pin_hard + 1))" ] ||
        pin_refuse "$pin_path was changed while it was looked at"
}

pin_tidy() {
    trap - EXIT HUP INT PIPE TERM
    if [ -z "$pin_stage" ]; then
        rm -rf -- "$pin_new"
    else
        rm -rf -- ./new ./old
        cd -P .. && rmdir -- "./$pin_stage" 2>/dev/null || :
    fi
}

# Puts $pin_new in its place, and both on the disk. Fails where that is a folder and something is there by
# now.
pin_end() {
    if [ ! -L "$pin_new" ]; then sync -- "$pin_new" || exit 1; fi
    if [ -d "$pin_new" ] && [ ! -L "$pin_new" ]; then
        # rename(2) replaces an empty folder: another task's, which is about to write there. Where -n keeps
        # mv from it, that exits with 0 (coreutils 9.1) or 1 (9.7).
        pin_seen=$(mv -nT -- "$pin_new" "$pin_out" 2>&1) || :
        if [ -d "$pin_new" ]; then
            [ -e "$pin_out" ] || [ -L "$pin_out" ] || pin_stuck
            pin_tidy
            return 1
        fi
    elif [ "${pin_never_over-}" = yes ]; then
        pin_seen=$(ln -T -- "$pin_new" "$pin_out" 2>&1) || pin_refuse "$pin_path is there by now: $pin_seen"
        rm -f -- "$pin_new"
    else
        pin_seen=$(mv -fT -- "$pin_new" "$pin_out" 2>&1) || pin_stuck
    fi
    trap - EXIT HUP INT PIPE TERM
    # The new name is on the disk when its folder is.
    if [ -n "$pin_stage" ]; then
        if [ -e ./old ]; then rm -f -- ./old; fi
        # A user who moved it aside may keep it: it is empty.
        cd -P .. && rmdir -- "./$pin_stage" 2>/dev/null || :
    fi
    sync -- . || exit 1
}

# Says why nothing can take the place of what is at $pin_path.
pin_stuck() {
    case $pin_seen in
        *busy*)
            pin_refuse "something is mounted at $pin_path, so nothing can take its place" \
                "write what is mounted there, where it comes from, or unmount it"
            ;;
        *'not permitted'*)
            pin_refuse "$pin_path can't be replaced: $pin_seen" \
                "if \`lsattr -d\` shows an i or a for it or its folder, \`chattr -i -a\` takes that off; \
in a sticky folder only the owner replaces a file"
            ;;
    esac
    pin_refuse "$pin_path can't be replaced: $pin_seen"
}

# Whether the file or folder $1 has an ACL.
pin_has_acl() {
    pin_seen=$(ls -ld -- "$1") || pin_refuse "$pin_path can't be looked at"
    case $pin_seen in ??????????+*) return 0 ;; *) return 1 ;; esac
}

# Takes an ACL off $1 that only those could mean who may write in its folder: it would let others in who
# aren't asked for.
pin_strip() {
    [ "$pin_trust" = no ] || return 0
    pin_has_acl "$1" || return 0
    set -- "$1" -b
    if [ -d "$1" ]; then set -- "$1" -b -k; fi
    pin_seen=$1
    shift
    pin_seen=$(setfacl "$@" -- "$pin_seen" 2>&1) || pin_refuse \
        "an ACL lets others into what shall be at $pin_path, and can't be taken off: $pin_seen" \
        "install setfacl (Debian's package is acl), or take the folder's default ACL off"
}

# Ends where ./$pin_name, after pin_judge, can't be given owner $1, group $2 and mode $3: whoever may write in
# a folder that isn't trusted may have moved there what is somebody else's, and it would be opened or given
# away. What everybody can read keeps nothing from anybody, and its name is theirs to give to another one
# anyway.
pin_may() {
    [ "$pin_uid" != "$pin_owner" ] || return 0
    case $pin_kind/$pin_mode in directory/*[57] | regular*/*[4567]) return 0 ;; esac
    # What is one's own is one's own to open, but root has what is others'.
    if [ ! -O / ] && [ -O "./$pin_name" ]; then return 0; fi
    pin_is_as_asked "$@" || pin_refuse_foreign "$@"
}

# The same of what is in the folder ./$pin_name, after pin_judge, which is the working directory by now: it
# may be others', who would no longer be its owner's guests.
pin_may_within() {
    if [ "$pin_uid" != "$pin_owner" ] && { [ -O / ] || [ ! -O . ]; } && [ -n "$(ls -A .)" ]; then
        pin_is_as_asked "$@" || pin_refuse_foreign "$@"
    fi
}

# Ends where ./$pin_name, after pin_alias, can't get owner $1, group $2 and mode $3. $pin_same says whether it
# is a file of others' folders that has them.
pin_may_set() {
    pin_same=no
    [ "$pin_there" = yes ] || return 0
    case $pin_kind in
        'symbolic link') pin_refuse_link "$pin_path" 'a file or folder' ;;
        directory)
            [ "$pin_trust" = no ] || return 0
            pin_may "$@"
            (pin_into "$pin_name" || exit 0; pin_may_within "$@") || exit $?
            ;;
        regular*)
            [ "$pin_trust" = no ] || return 0
            if pin_is_as_asked "$1" "$2" '' && [ $((0${3:-$pin_mode})) -eq $((0$pin_mode)) ]; then
                pin_same=yes
                return 0
            fi
            pin_hard_links_are_safe || pin_refuse \
                "the file $pin_path may be a hard link to another one, so its owner and mode stay as they are: \
$pin_says" \
                "give it its content too: then it becomes a new file"
            pin_may "$@"
            ;;
        *) [ "$pin_trust" = yes ] || pin_refuse "there is a $pin_kind at $pin_path: $pin_says" ;;
    esac
}

# Whether ./$pin_name, after pin_judge, belongs to owner $1 and group $2, and opens to no more than mode $3.
pin_is_as_asked() {
    case $1 in '' | "$pin_user" | "$pin_uid") ;; *) return 1 ;; esac
    case $2 in '' | "$pin_group" | "$pin_gid") ;; *) return 1 ;; esac
    [ -z "$3" ] || [ $((0$3 & ~0$pin_mode & 07077)) -eq 0 ]
}

pin_refuse_foreign() {
    set -- "${1:-$pin_user}" "${2:+:$2}"
    pin_refuse "the $pin_kind $pin_path belongs to $pin_user and may be another one that was moved there, so it isn't \
given away or opened to others: $pin_says" "look what it is: \`chown $1$2 $pin_path\` gives it away if it's the one \
that is meant; else take it away, and haflow makes a new one"
}

# Gives $1, which nobody else can swap, owner, group and mode, where they are given. A changed owner clears
# set-user-id: the mode comes last.
pin_set() {
    if [ -n "$2$3" ]; then chown -h -- "$2${3:+:$3}" "$1" || exit 1; fi
    # Of a folder, five digits clear the bits too that are zero.
    if [ -n "$4" ]; then chmod -- "$4" "$1" || exit 1; fi
}

# What pin_fill prints becomes the content of the file $1: owner $2, group $3, mode $4, each as it is where
# empty; a new file's mode is $4 or 0644. With $pin_never_over, nothing may be there yet.
pin_put() {
    pin_enter "$1"
    pin_judge "$pin_name"
    if [ "$pin_there" = yes ]; then
        case $pin_kind in
            regular*) ;;
            symbolic*) pin_refuse_link "$1" 'a file' ;;
            *) pin_refuse "there is a $pin_kind at $1, where a file is wanted" ;;
        esac
        pin_alias "$2" "$3"
    fi
    pin_begin
    set -C
    if [ "$pin_there" = no ]; then
        set -- "$1" "$2" "$3" "${4:-0644}"
        if [ -z "$2$3" ] && [ "$pin_acl" = no ] && [ $((0$4 & ~0666)) -eq 0 ]; then
            # Made with the wanted mode and by the wanted owner: nothing more is to be set.
            umask "$(printf '%04o' $((0777 & ~0$4)))"
            pin_fill > "$pin_new" || exit 1
        else
            umask 077
            pin_fill > "$pin_new" || exit 1
            pin_set "$pin_new" "$2" "$3" "$4"
        fi
    else
        umask 077
        pin_fill > "$pin_new" || exit 1
        case $2 in
            '' | "$pin_user" | "$pin_uid")
                pin_hold
                pin_carry
                # Those who may write here could have given it an ACL before it was kept from others.
                if [ -n "$2$3$4" ]; then pin_strip "$pin_new"; fi
                # What is as it was needs no process.
                case $3 in
                    '' | "$pin_group" | "$pin_gid")
                        if [ "$pin_trust" = no ] && [ -n "$4" ]; then
                            set -- "$1" '' '' "$4"
                        elif [ "$pin_trust" = no ] && [ $((0$pin_mode & 06000)) -ne 0 ]; then
                            # Another content isn't to run as who owned the old one.
                            set -- "$1" '' '' ug-s
                        elif [ -z "$4" ] || [ $((0$4)) -eq $((0$pin_mode)) ]; then
                            set -- "$1" '' '' ''
                        else
                            set -- "$1" '' '' "$4"
                        fi
                        ;;
                    *) set -- "$1" '' "$3" "${4:-ug-s}" ;;
                esac
                ;;
            *)
                if [ "$pin_trust" = yes ]; then
                    pin_carry
                    set -- "$1" "$2" "$3" "${4:-ug-s}"
                else
                    # The old owner's ACL and mode aren't for the new one's file.
                    set -- "$1" "$2" "${3:-$pin_gid}" "${4:-$(printf '%04o' $((0$pin_mode & 0644)))}"
                fi
                ;;
        esac
        pin_set "$pin_new" "$2" "$3" "$4"
    fi
    set +C
    pin_end
}

# Gives $pin_new owner, group, mode, ACL and extended attributes of $pin_old.
pin_carry() {
    pin_what=mode,ownership,xattr
    [ ! -e /sys/fs/selinux/enforce ] || pin_what=$pin_what,context
    # A user who isn't root can't give a file away, and cp doesn't say so.
    if [ "$pin_uid" != 0 ] && [ ! -O / ] && [ ! -O "$pin_old" ]; then chown -- "$pin_uid" "$pin_new" || exit 1; fi
    pin_seen=$(cp --attributes-only "--preserve=$pin_what" -- "$pin_old" "$pin_new" 2>&1) && return
    # A cp that can't. Without an ACL, numbers do.
    case $(ls -ld -- "$pin_old") in
        ??????????+*) pin_refuse "$pin_path has an ACL, which can't be carried over to its new content: $pin_seen" \
            "take it off with \`setfacl -b\`, or install GNU coreutils with support for ACLs" ;;
    esac
    case $pin_seen in
        *'xattr support'* | *option*) ;;
        *) pin_refuse "what $pin_path has of attributes can't be carried over to its new content: $pin_seen" ;;
    esac
    pin_strip "$pin_new"
    chown -- "$pin_uid:$pin_gid" "$pin_new" && chmod -- "$pin_mode" "$pin_new" || exit 1
}

# Owner $1, group $2 and mode $3, where given, of the folder ./$pin_name, after pin_judge.
pin_set_folder() {
    pin_alias "$1" "$2"
    if [ "$pin_trust" = no ]; then pin_may "$@"; fi
    pin_into "$pin_name" || pin_refuse "${PWD%/}/$pin_name isn't a folder, or can't be entered"
    if [ "$pin_trust" = no ]; then
        pin_seen=$(stat -c '%d:%i %u %g %a' .) || exit 1
        [ "$pin_seen" = "$pin_inode $pin_uid $pin_gid $pin_mode" ] ||
            pin_refuse "$pin_path was changed while it was looked at"
        pin_may_within "$@"
        pin_strip .
    fi
    pin_set . "$@"
}

# Owner $2, group $3 and mode $4, where given, of what is at $1: a file or a folder.
pin_attributes() {
    pin_enter "$1"
    pin_judge "$pin_name"
    [ "$pin_there" = yes ] || pin_refuse "there is nothing at $1"
    shift
    if [ "$pin_kind" = directory ]; then
        pin_set_folder "$@"
        return
    fi
    pin_alias "$1" "$2"
    pin_may_set "$@"
    [ "$pin_same" = no ] || return 0
    if [ -z "$3" ] && [ $((0$pin_mode & 06000)) -ne 0 ] && ! pin_is_as_asked "$1" "$2" ''; then
        set -- "$1" "$2" ug-s
    fi
    if [ "$pin_trust" = yes ]; then
        pin_set "./$pin_name" "$@"
        return
    fi
    pin_begin
    pin_new=./old
    pin_hold
    pin_strip ./old
    pin_set ./old "$@"
    pin_tidy
}

# There is a folder $1, and those above it: owner $2, group $3 and mode $4 of the last one, where given.
pin_make() {
    pin_path=$1
    pin_missing=
    if pin_find "$1"; then
        pin_missing=$pin_name
    elif [ "$pin_links" -gt 0 ] && [ "${pin_follow-}" = yes ]; then
        pin_refuse "$1 is a link to a folder that isn't there"
    else
        pin_missing=$pin_part$pin_rest/$pin_name
    fi
    while [ -n "$pin_missing" ]; do
        pin_part=${pin_missing%%/*}
        case $pin_missing in */*) pin_missing=${pin_missing#*/} ;; *) pin_missing= ;; esac
        case $pin_part in '' | .) continue ;; ..) pin_refuse "$1 has a part \`..\` below what isn't there" ;; esac
        if [ -L "./$pin_part" ]; then
            pin_judge
            pin_refuse_link "${PWD%/}/$pin_part" 'a folder'
        fi
        pin_name=$pin_part
        pin_made=no
        if [ ! -e "./$pin_name" ]; then
            pin_judge
            pin_begin
            # Nobody else can enter it before it has its owner and mode, nor put another one in its place.
            (umask 077; mkdir -- "$pin_new") || exit 1
            if [ -z "$pin_missing" ]; then
                pin_set "$pin_new" "$2" "$3" "${4:-$(pin_umask)}"
            else
                pin_set "$pin_new" '' '' "$(pin_umask)"
            fi
            # Another may have made it at the same time.
            pin_end && pin_made=yes
        fi
        if [ "$pin_made" = no ] && [ -z "$pin_missing" ] && [ -n "$2$3$4" ]; then
            pin_judge "$pin_name"
            pin_set_folder "$2" "$3" "$4"
            return
        fi
        pin_into "$pin_name" || pin_refuse "${PWD%/}/$pin_name isn't a folder, or can't be entered"
    done
}

# Prints the mode that a new folder has by the umask.
pin_umask() {
    printf '%04o' $((0777 & ~0$(umask)))
}

# A link at $1 to $2, of owner $3 and group $4 where given.
pin_symlink() {
    pin_enter "$1"
    pin_judge "$pin_name"
    if [ "$pin_there" = yes ] && [ "$pin_kind" != 'symbolic link' ]; then
        pin_refuse "there is a $pin_kind at $1, where a link is wanted"
    fi
    pin_begin
    ln -s -- "$2" "$pin_new" || exit 1
    pin_set "$pin_new" "$3" "$4" ''
    pin_end
}

# Prints what is mounted at $1 or below it, if anything is.
pin_mounted() {
    while read -r pin_id pin_above pin_device pin_root pin_point pin_line; do
        case $pin_point in
            *\\*)
                # proc(5) writes three digits, of which printf wants a zero before.
                pin_point=$(printf '%b.' "$(printf '%s' "$pin_point" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')")
                pin_point=${pin_point%.}
                ;;
        esac
        case $pin_point in "$1" | "$1"/*) printf '%s' "$pin_point"; return ;; esac
    done 2>/dev/null </proc/self/mountinfo
}

# Ends where the folder ./$pin_name stays: one of the system's own, whatever it is called, and what is
# mounted.
pin_may_take() {
    pin_seen=$(pin_system "./$pin_name")
    [ -z "$pin_seen" ] || pin_refuse "$pin_path is $pin_seen, which belongs to the system and isn't removed"
    pin_seen=$(pin_mounted "${PWD%/}/$pin_name") || :
    [ -z "$pin_seen" ] ||
        pin_refuse "something is mounted at $pin_seen, so nothing of $pin_path is removed" "unmount it first"
}

# Nothing is left at $1.
pin_take() {
    pin_find "$1" || return 0
    if [ -d "./$pin_name" ] && [ ! -L "./$pin_name" ]; then pin_may_take; fi
    pin_seen=$(rm -rf -- "./$pin_name" 2>&1) || pin_stuck
    sync -- . || exit 1
}

# pin_write PATH OWNER GROUP MODE: see pin_put.
pin_write() ( pin_put "$@" )

# pin_own PATH OWNER GROUP MODE: see pin_attributes.
pin_own() ( pin_attributes "$@" )

# pin_folder PATH OWNER GROUP MODE: see pin_make.
pin_folder() ( pin_make "$@" )

# pin_copy PATH OWNER GROUP MODE FROM: a new folder with all that is in the folder FROM, or an empty one where
# there is none.
pin_copy() (
    pin_enter "$1"
    pin_judge "$pin_name"
    [ "$pin_there" = no ] || pin_refuse "there is a $pin_kind at $1 already"
    pin_begin
    umask 077
    if [ -d "$5" ]; then cp -R --preserve=mode -- "$5" "$pin_new"; else mkdir -- "$pin_new"; fi || exit 1
    # The folder itself comes last: until then nobody else gets in.
    chmod -- "$4" "$pin_new" && chown -Rh -- "$2:$3" "$pin_new" || exit 1
    pin_end || pin_refuse "something is at $1 by now" "run it again"
)

# pin_see PATH: prints KIND MODE UID GID USER:GROUP of what is there, or `absent`; of a kind only the first
# word (`regular`). Names may have blanks.
pin_see() (
    if ! pin_find "$1" || { [ ! -e "./$pin_name" ] && [ ! -L "./$pin_name" ]; }; then
        echo absent
        exit 0
    fi
    pin_judge "$pin_name"
    [ "$pin_there" = yes ] || { echo absent; exit 0; }
    printf '%s\n' "${pin_kind%% *} $pin_mode $pin_uid $pin_gid $pin_user:$pin_group"
)

# pin_remove PATH: see pin_take.
pin_remove() ( pin_take "$@" )

# pin_foresee PATH OWNER GROUP MODE: ends with a message where pin_own or pin_folder would, for what others
# may have put there.
pin_foresee() (
    pin_find "$1" || exit 0
    pin_judge "$pin_name"
    shift
    pin_alias "$1" "$2"
    pin_may_set "$@"
)

# pin_trusted PATH: ends with a message where somebody else may write in the folder of PATH.
pin_trusted() (
    pin_enter "$1"
    pin_judge
    [ "$pin_trust" = yes ] || pin_refuse "nothing is kept in ${1%/*}: $pin_says" "take a folder of root's"
)

# pin_read PATH [any]: prints a file of at most 4 MiB; fails where there is none. With `any` also what the
# folder's owner couldn't read, if it is no hard link: for what is kept from others.
pin_read() (
    pin_find "$1" || exit 1
    pin_judge "$pin_name"
    [ "$pin_there" = yes ] || exit 1
    case $pin_kind in
        regular*) ;;
        symbolic*) pin_refuse_link "$1" 'a file' ;;
        *) pin_refuse "there is a $pin_kind at $1, where a file is wanted" ;;
    esac
    [ "$pin_size" -le 4194304 ] || pin_refuse "$1 has $pin_size bytes, too many to be read (at most 4194304)"
    if [ "${2-}" = any ] && { [ "$pin_trust" = yes ] || pin_hard_links_are_safe; }; then
        pin_raw 4194304
    else
        pin_bytes 4194304 || pin_refuse \
            "$1 isn't read: those who may write there can't read it themselves; $pin_says, \
the file belongs to $pin_user" \
            "look what it is: if it's the one that is meant, chown gives it to whom the folder belongs"
    fi
)
