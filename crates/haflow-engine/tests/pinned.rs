//! `pinned.sh` in the shells that hosts have: what it writes, and what it refuses, in folders of its own and
//! of others.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

/// The shells of hosts, as far as they are installed here.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["dash"], vec!["busybox", "ash"], vec!["bash", "--posix"]];
    let there = |shell: &Vec<&str>| {
        let ran = Command::new(shell[0]).args(&shell[1..]).args(["-c", ":"]).status();
        let there = ran.is_ok_and(|status| status.success());
        if !there {
            skipped(&format!("{} isn't installed here", shell.join(" ")));
        }
        there
    };
    all.into_iter().filter(there).collect()
}

fn run(shell: &[&str], folder: &Path, script: &str) -> Output {
    let mut text = format!("{}t='{}'\ncd /\n", haflow_model::pinned(), folder.display());
    let _ = writeln!(text, "pin_fill() {{ echo \"new $n\"; }}\n{script}");
    Command::new(shell[0]).args(&shell[1..]).args(["-c", &text]).env("LC_ALL", "C").output().expect("it starts")
}

/// What a script prints in each shell, in a folder that only the test's user may write.
#[track_caller]
fn prints(script: &str, expected: &str) {
    for shell in shells() {
        // Not in /tmp, where others may write: that is a way through only.
        let folder = tempfile::Builder::new().prefix("pinned").tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        let output = run(&shell, &path, script);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(told.replace(path.to_str().expect("UTF-8"), "T"), expected, "{shell:?}");
    }
}

/// Says so past the test's harness, which keeps to itself what a test prints that passes.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether ACLs can be set.
fn has_acls() -> bool {
    let has = Command::new("setfacl").arg("--version").output().is_ok();
    if !has {
        skipped("setfacl isn't installed here (Debian's package is acl)");
    }
    has
}

/// Whether another user's folder can be made: only root gives something away.
fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0);
    if !root {
        skipped("only root can work in others' folders");
    }
    root
}

#[test]
fn in_a_trusted_folder_files_are_written_and_links_on_the_way_followed() {
    prints(
        "n=1; pin_write $t/a '' '' 00640; cat $t/a; stat -c %a $t/a
         mkdir $t/real; ln -s real $t/way; n=2; pin_write $t/way//b '' '' ''; cat $t/real/b; stat -c %a $t/real/b
         ln -s real/b $t/link; pin_write $t/link '' '' ''; echo $?
         pin_follow=yes; n=3; pin_write $t/link '' '' ''; cat $t/real/b; pin_follow=
         mkdir -m 2775 $t/g; pin_folder $t/g '' '' 00755; stat -c %a $t/g
         pin_folder $t/x/y/z '' '' 00700; stat -c %a $t/x/y/z
         pin_remove $t/x; pin_remove $t/none; pin_remove /usr/; echo $?
         pin_write $t/none/a '' '' ''; echo $?; ls -A $t $t/real",
        "new 1\n640\nnew 2\n644\n77\nnew 3\n755\n700\n77\n77\nT:\na\ng\nlink\nreal\nway\n\nT/real:\nb\n\
         haflow: there is a link at T/link, where a file is wanted\n\
         hint: the option `follow: true` works through it, if nobody else could have made it\n\
         haflow: /usr/ is /usr, which belongs to the system and isn't removed\n\
         haflow: there is no folder T/none\nhint: declare it before this: folder(host, \"T/none\")\n",
    );
}

/// Two tasks that make the same folder: neither takes away what the other has made in it by then.
#[test]
fn a_folder_that_is_made_at_the_same_time_stays() {
    let race = "mkdir() { command mkdir \"$@\" && command mkdir -p $t/d && echo kept > $t/d/file; }";
    prints(
        &format!("({race}; pin_folder $t/d/e '' '' 00700); cat $t/d/file; stat -c %a $t/d/e; ls -A $t"),
        "kept\n700\nd\n",
    );
    prints(
        &format!("({race}; pin_folder $t/d '' '' 00750); cat $t/d/file; stat -c %a $t/d; ls -A $t"),
        "kept\n750\nd\n",
    );
    prints(
        &format!("({race}; pin_copy $t/d '' '' 0700 $t/none); echo $?; cat $t/d/file; ls -A $t"),
        "77\nkept\nd\nhaflow: something is at T/d by now\nhint: run it again\n",
    );
    // The empty one, too: its maker is about to write there.
    prints(
        "(mkdir() { command mkdir \"$@\" && command mkdir -p $t/d && stat -c %i $t/d > $t/i; }; pin_folder $t/d '' '' 00750)
         [ \"$(cat $t/i)\" = \"$(stat -c %i $t/d)\" ]; echo $?; stat -c %a $t/d",
        "0\n750\n",
    );
    prints(
        "(mkdir() { command mkdir \"$@\" && echo kept > $t/d; }; pin_folder $t/d '' '' 00750); echo $?; cat $t/d; ls -A $t",
        "77\nkept\nd\nhaflow: T/d isn't a folder, or can't be entered\n",
    );
}

#[test]
fn in_anothers_folder_no_name_leads_elsewhere() {
    if !is_root() {
        return;
    }
    prints(
        "chmod 755 $t; mkdir $t/home $t/victim; echo secret > $t/victim/f; chmod 600 $t/victim/f; chown 65534:65534 $t/home
         ln -s ../victim $t/home/way; ln -s ../victim/f $t/home/link; ln $t/victim/f $t/home/hard; mkfifo $t/home/pipe
         for p in way/f link pipe; do pin_write $t/home/$p 65534 '' ''; pin_own $t/home/$p 65534 '' 00666; pin_read $t/home/$p; done 2>&1 | grep -c haflow:
         pin_own $t/home/hard 65534 '' '' 2>/dev/null; echo $?; pin_read $t/home/hard 2>/dev/null; echo $?
         pin_folder $t/home/way/new '' '' '' 2>/dev/null; echo $?; pin_remove $t/home/way/f 2>/dev/null; echo $?
         n=1; pin_write $t/home/a 65534 65534 00640; n=2; pin_write $t/home/a '' '' ''; stat -c '%u %g %a %h' $t/home/a; pin_read $t/home/a
         pin_own $t/home/a 0 '' 00600; stat -c '%u %a %h' $t/home/a; pin_read $t/home/a 2>/dev/null; echo $?
         chmod 666 $t/home/a; chown 65534 $t/home/a; pin_write $t/home/a 0 '' ''; stat -c '%u %a' $t/home/a
         cat $t/victim/f; stat -c '%u %a' $t/victim/f; ls -A $t/home $t/victim",
        "9\n77\n77\n77\n77\n65534 65534 640 1\nnew 2\n0 600 1\n77\n0 644\nsecret\n0 600\n\
         T/home:\na\nhard\nlink\npipe\nway\n\nT/victim:\nf\n",
    );
}

/// `follow: true` doesn't help there: what is said leads to what does.
#[test]
fn a_link_in_anothers_folder_is_refused_with_what_helps() {
    if !is_root() {
        return;
    }
    let why = "no link is followed there: T/home belongs to nobody\n\
         hint: the option `follow: true` doesn't help there: name the place itself, or let the task run as the \
         folder's owner, with the option `user`\n";
    prints(
        "chmod 755 $t; mkdir $t/home; ln -s /etc/hostname $t/home/link; ln -s none $t/home/way; chown 65534:65534 $t/home
         pin_write $t/home/link '' '' ''; pin_read $t/home/link; pin_own $t/home/link '' '' 00600
         pin_follow=no; pin_folder $t/home/way 65534 '' ''",
        &[("link", "a file"), ("link", "a file"), ("link", "a file or folder"), ("way", "a folder")]
            .map(|(at, what)| format!("haflow: there is a link at T/home/{at}, where {what} is wanted, and {why}"))
            .concat(),
    );
}

#[test]
fn an_acl_stays_and_gives_nobody_more() {
    if !is_root() || !has_acls() {
        return;
    }
    prints(
        "echo old > $t/a; chmod 640 $t/a; setfacl -m u:65534:rw $t/a; n=1; pin_write $t/a '' '' ''; getfacl -cnp $t/a
         mkdir $t/home; chmod 755 $t; mv $t/a $t/home/a; chown 65534:65534 $t/home $t/home/a
         n=2; pin_write $t/home/a '' '' ''; getfacl -cnp $t/home/a; cat $t/home/a; ls -A $t/home",
        "user::rw-\nuser:65534:rw-\ngroup::r--\nmask::rw-\nother::---\n\n\
         user::rw-\nuser:65534:rw-\ngroup::r--\nmask::rw-\nother::---\n\nnew 2\na\n",
    );
}

/// A file that is as it is wanted stays as it is: it may be another one under one more name.
#[test]
fn a_hard_link_that_is_as_wanted_keeps_its_acl() {
    if !is_root() || !has_acls() {
        return;
    }
    prints(
        "chmod 755 $t; mkdir $t/home $t/victim; echo s > $t/victim/f; chmod 640 $t/victim/f
         setfacl -m u:65533:r $t/victim/f
         ln $t/victim/f $t/home/f; chown 65534:65534 $t/home
         pin_own $t/home/f 0 0 00640; echo $?; pin_own $t/home/f '' '' ''; echo $?; getfacl -cnp $t/victim/f",
        "0\n0\nuser::rw-\nuser:65533:r--\ngroup::r--\nmask::r--\nother::---\n\n",
    );
}

#[test]
fn what_is_locked_says_so() {
    if !is_root() {
        return;
    }
    prints(
        "echo old > $t/a; if chattr +i $t/a 2>/dev/null; then pin_write $t/a '' '' '' 2>&1 | grep -c -e \"can't be replaced\" -e chattr; chattr -i $t/a; else echo 2; fi; ls -A $t",
        "2\na\n",
    );
}

#[test]
fn what_was_moved_into_anothers_folder_is_neither_given_nor_opened() {
    if !is_root() {
        return;
    }
    prints(
        "chmod 755 $t; mkdir $t/home $t/home/kept $t/home/open; echo secret > $t/home/f; echo all > $t/home/g
         chmod 600 $t/home/f; chmod 700 $t/home/kept; chown 65534:65534 $t/home
         for p in f kept; do
           { pin_own $t/home/$p 65534 '' ''; pin_own $t/home/$p '' 65534 ''; pin_own $t/home/$p '' '' 00644; } 2>&1 |
             grep -c 'may be another one'
         done
         pin_folder $t/home/kept 65534 '' '' 2>/dev/null; echo $?
         stat -c '%n %u %g %a' $t/home/f $t/home/kept
         pin_own $t/home/f 0 0 00400; pin_own $t/home/g 65534 '' 00640; pin_own $t/home/open 65534 65534 00700
         stat -c '%n %u %g %a' $t/home/*",
        "3\n3\n77\nT/home/f 0 0 600\nT/home/kept 0 0 700\n\
         T/home/f 0 0 400\nT/home/g 65534 0 640\nT/home/kept 0 0 700\nT/home/open 65534 65534 700\n",
    );
}

#[test]
fn who_reads_as_another_user_gets_nothing_of_roots() {
    if !is_root() {
        return;
    }
    // In dd's place, something that says what it was given.
    prints(
        "chmod 755 $t; mkdir $t/home $t/bin; head -c 9999 /dev/zero > $t/home/f; chown -R 65534:65534 $t/home
         printf '%s\n' '#!/bin/sh' 'id -u; env | cut -d= -f1 | grep -vx -e PWD -e OLDPWD -e _ -e SHLVL; cd /proc/self/fd' \
           'for f in 0 1 3 4 5 6 7 8 9; do if [ -e $f ]; then readlink /proc/$$/fd/$f; fi; done; :' > $t/bin/dd
         chmod 755 $t/bin/dd; export KEPT=1 PATH=$t/bin:$PATH; exec 5</etc/shadow 7>>$t/log
         pin_read $t/home/f | sed 's/pipe:.*/pipe/'; ls -A $t/home",
        "65534\nPATH\n/dev/null\npipe\nf\n",
    );
}

#[test]
fn what_a_folder_hands_on_lets_nobody_in() {
    if !is_root() || !has_acls() {
        return;
    }
    prints(
        "chmod 755 $t; mkdir $t/home $t/own; chown 65534:65534 $t/home
         for f in home own; do setfacl -d -m u:65533:rwx $t/$f; done; umask 022
         n=1; pin_write $t/home/a 0 0 00600; pin_folder $t/home/b/c 0 0 00700
         getfacl -cp $t/home/a $t/home/b $t/home/b/c | grep -c 65533
         pin_write $t/own/a '' '' 00600; getfacl -cpE $t/own/a | grep 65533; ls -A $t/home $t/own
         mkdir -m 770 $t/more; echo x > $t/more/f; chmod 640 $t/more/f; chown 1:1 $t/more; chown 0:1 $t/more/f; pin_read $t/more/f
         setfacl -m u:65533:rwx $t/more; pin_read $t/more/f 2>/dev/null; echo $?",
        "0\nuser:65533:rwx\nT/home:\na\nb\n\nT/own:\na\nx\n77\n",
    );
}

#[test]
fn what_all_who_may_write_somewhere_can_read_is_read() {
    if !is_root() {
        return;
    }
    // As Debian's /etc/neutron is: its user's and its group's to write.
    prints(
        "chmod 755 $t; mkdir -m 770 $t/conf; cd $t/conf; for f in both group owner root; do echo $f > $f; chmod 640 $f; done
         chown 0:1 both; chown 0:65533 group; chown 1:0 owner; chmod 600 owner; chown 1:1 .; cd /
         for f in both group owner root; do pin_read $t/conf/$f 2>/dev/null; echo $?; done
         chmod 777 $t/conf; pin_read $t/conf/both 2>/dev/null; echo $?; chmod 644 $t/conf/both; pin_read $t/conf/both",
        "both\n0\n77\n77\n77\n77\nboth\n",
    );
}

#[test]
fn a_folder_that_holds_something_is_not_given_away() {
    if !is_root() {
        return;
    }
    prints(
        "chmod 755 $t; mkdir -p $t/home/moved $t/home/empty; echo secret > $t/home/moved/p; chmod 600 $t/home/moved/p
         chown 65534:65534 $t/home
         for f in moved empty; do pin_folder $t/home/$f 65534 '' '' 2>/dev/null; echo $?; stat -c %u $t/home/$f; done
         pin_folder $t/home/moved '' '' 00755; echo $?; pin_folder $t/home/moved 0 0 ''; echo $?",
        "77\n0\n0\n65534\n0\n0\n",
    );
}

#[test]
fn new_content_runs_as_nobody_and_keeps_no_acl_where_it_is_kept_from_others() {
    if !is_root() || !has_acls() {
        return;
    }
    prints(
        "chmod 755 $t; mkdir $t/home; cp /bin/true $t/home/run; chmod 4755 $t/home/run; echo old > $t/home/key
         chown 65534:65534 $t/home; chown 65533 $t/home/run; chmod 4755 $t/home/run; setfacl -m u:65533:rw $t/home/key
         n=1; pin_write $t/home/run '' '' ''; stat -c '%u %a' $t/home/run
         echo x > $t/home/mask; chmod 4755 $t/home/mask; setfacl -m u:65533:rwx $t/home/mask; chmod u+s $t/home/mask
         pin_own $t/home/mask 65534 '' ''; stat -c '%u %a' $t/home/mask
         pin_write $t/home/key 0 '' 00640; getfacl -cp $t/home/key | grep -c 65533; stat -c %a $t/home/key
         head -c 4194305 /dev/zero > $t/home/large; pin_read $t/home/large any 2>&1 | grep -c 'too many'",
        "65533 755\n65534 755\n0\n640\n1\n",
    );
}
