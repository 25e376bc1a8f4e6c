//! What each native function is for: the text of the reference.

/// A native function, for the reference.
#[derive(Debug, Clone, Copy)]
pub struct NativeDoc {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub signature: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const fn native(name: &'static str, signature: &'static str, doc: &'static str) -> NativeDoc {
    NativeDoc { name, signature, doc }
}

/// All native functions, in the order of the reference.
pub(crate) static NATIVES: &[NativeDoc] = &[
    native(
        "param",
        "param(name, default, #{ help, one_of, type })",
        "A param of the playbook, given by `-e NAME=VALUE`. It has the type of its default: text, int, float, bool, list (from \
     JSON, or values with commas between them) or map (from JSON). Where the default is `()`, it must be given, and `type` \
     says which of `\"text\"` `\"int\"` `\"float\"` `\"bool\"` `\"list\"` `\"map\"` it is. Default and options may be left out.",
    ),
    native(
        "group",
        "group(name, #{ at_least, lab, help })",
        "The hosts of a group, in the order of the inventory. The group must have at least `at_least` (1) hosts; with 0 it \
     may be empty, or missing where no other group is called almost the same. A lab boots `lab` of them (3, or `at_least` if \
     that is more; 0 boots none). The options may be left out.",
    ),
    native("host", "host(name)", "The host of that name. It has `.name`, `.address`, `.vars`, `.groups` and `.facts`."),
    native("hosts", "hosts()", "All hosts of the inventory."),
    native("rest", "rest(list)", "A list without its first element."),
    native(
        "fact",
        "fact(host, name, #{ probe, jq, raw, params, assume, unreached })",
        "A fact of one's own: what `probe` prints on the host, through the filter `jq` if there is one. It is read on all \
     hosts at once when it is first asked for, and recorded. Where there are no hosts, as in `haflow check`, it is `assume`. Of a host that can't be \
     reached it is `unreached`; without that option, a line that asks for it then is an error.",
    ),
    native(
        "ensure",
        "ensure(host, #{ kind, name, params, probe, jq, raw, want, apply, rehearse, brings, expect, reads, touches, … })",
        "A task that makes something true: `probe` prints what is there; where that isn't `want`, `apply` changes it, and \
     `probe` must print `want` then. `rehearse` is a read-only script that says why the apply would fail, or \
     `#{ script, reads }`; `brings`, `expect`, `reads` and `touches` say what a plan can know of it: see the guide.",
    ),
    native(
        "file",
        "file(host, path, #{ content, edit, own_edit, folder, link, absent, mode, owner, group, follow, secret, validate, kind, name, params, … })",
        "A task about a file: one with this `content` (a text, an output or a secret), or with what the filter \
     `edit` makes of the text that is there, or haflow's `own_edit` (`line`, `block` or `settings`); \
     `folder: true`; a `link` that points there; or `absent: true`. With none of these, what is there keeps its \
     content. With `secret: true` nothing is shown of the content, neither the old one nor the new one. A link at \
     the path is refused; with `follow: true` it is followed, if nobody else could have made it. `validate` is a \
     script that checks the file `$candidate` before it takes the place of the old one.",
    ),
    native(
        "pinned",
        "pinned()",
        "Shell functions for scripts that work on files in folders which somebody else may write, such as a home: \
     put it before the script's text. `pin_write PATH OWNER GROUP MODE` makes what your shell function `pin_fill` \
     prints the content of a file; `pin_own PATH OWNER GROUP MODE` and `pin_folder PATH OWNER GROUP MODE` set what \
     isn't empty; `pin_read PATH` prints a file, `pin_see PATH` what kind of thing is there, and `pin_remove PATH` \
     removes it. None follows a link that others could have made: they end with a message and exit code 77.",
    ),
    native(
        "act",
        "act(host, #{ name, reason, apply, rehearse, brings, kind, params, … })",
        "A task that always runs, because nothing can be probed; `reason` says why. What `apply` prints is its `.output`.",
    ),
    native(
        "gate",
        "gate(host, #{ name, probe, jq, raw, want, times, every, within, kind, params, … })",
        "A task that waits until `probe` has printed `want` `times` (1) times in a row; it looks `every` (\"1s\") and gives \
     up after `within` (\"60s\").",
    ),
    native(
        "read",
        "read(host, #{ name, probe, jq, raw, secret, kind, params, … })",
        "A task that reads something off a host, for other tasks to use. Returns its output; `secret: true` keeps it out of \
     everything that is shown.",
    ),
    native(
        "secret",
        "secret(name)",
        "A secret, by its name: small letters, digits and `_`. The script never has its value. It is one of a task's `params`, its `want` or its \
     `content`, and is shown nowhere. `template` and `render` put it into a text, which is a secret then. The value comes from the environment \
     (`HAFLOW_SECRET_NAME`), the file `secrets.age` beside the playbook, a command that `secrets.toml` there names, or is asked for; \
     `haflow secret --help` says more.",
    ),
    native("after", "task.after(other)", "Lets a task come after another, or after a list of others."),
    native("equals", "output.equals(value)", "A test for `when`: the output is that value."),
    native(
        "contains",
        "output.contains(value)",
        "A test for `when`: the output is a text with that part, a list with that element, or a map with that key.",
    ),
    native(
        "matches",
        "output.matches(regex)",
        "A test for `when`: the output matches the regular expression somewhere.",
    ),
    native("is_empty", "output.is_empty()", "A test for `when`: the output is null, or an empty text, list or map."),
    native("not", "not(test)", "Turns a test round."),
    native(
        "barrier",
        "barrier(hosts, name)",
        "What is declared on these hosts afterwards waits for all that was declared on any of them before.",
    ),
    native(
        "serial",
        "serial(hosts, |node| …)",
        "Declares tasks for one host after the other: what the function declares for a host waits for all that it declared \
     for the host before.",
    ),
    native("rolling", "rolling(hosts, #{ batch, name }, |node| …)", "Like `serial`, with `batch` (1) hosts at a time."),
    native(
        "parallel",
        "parallel([|| …, || …])",
        "Declares branches that don't wait for each other, also where they are about the same host.",
    ),
    native(
        "template",
        "template(path, data)",
        "The text that a minijinja file makes of `data`. The file is looked for beside the file that calls. A value that \
     isn't in `data` is an error. Where there is a secret in `data`, it can be put in as it is, by `{{ name }}` alone, and the text is a secret too.",
    ),
    native("render", "render(text, data)", "Like `template`, from a text."),
    native(
        "pgp_key",
        "pgp_key(key, fingerprint, #{ weak_key })",
        "The armored text of an OpenPGP public key, if it is the one with this fingerprint: all 40 digits (64 of the newest \
     keys), blanks may be between them. `key` is a file beside the file that calls, armored or binary, or an armored text. The \
     file must hold that one key and no other, and the key must not be secret, revoked or expired, nor unable to sign; \
     otherwise it is an error, and no host is touched. `weak_key: true` takes RSA of fewer than 2048 bits, DSA, and signatures \
     by SHA-1 and older digests. What others have signed of the key is left out of the text. `repository` does all this itself.",
    ),
    native("json", "json(value)", "A value as JSON text, without blanks."),
    native(
        "join",
        "join(list, separator)",
        "The elements of a list as one text, with `separator` between them: `names.join(\", \")`.",
    ),
    native(
        "options",
        "options(function, given, defaults)",
        "For functions of one's own that take options: checks the map `given` against `defaults`, a key that is wrong or of \
     the wrong type being an error of that `function`. Returns `#{ own, common }`: `own` are the defaults with what was \
     given, `common` those of the options that all tasks take. A default `()` takes any type, and any option takes `()`.",
    ),
    native("fail", "fail(message)", "Ends the declaration with an error at the playbook's line. No host is touched."),
    native("warn", "warn(message)", "Says something to the user before the run."),
    native("print", "print(value)", "Shows a value while a playbook is being written."),
];
