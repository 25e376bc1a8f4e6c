//! What is known to fail before the first change.

use super::*;

/// It is known that the second of two tasks will fail, and with which outcome.
fn begun() -> (Tale, Outcome) {
    let mut tale = Tale::new(&["rabbit1", "rabbit2"], 2);
    tale.connected("rabbit1").connected("rabbit2");
    let foreseen = Failure { exit: None, ..failure() };
    tale.then(20, Event::TaskWouldFail { task: package("rabbit2"), failure: foreseen.clone() });
    (tale, Outcome::Failed { failure: Box::new(foreseen) })
}

#[test]
fn what_was_foreseen_is_told_in_full_before_and_at_the_end() {
    let (mut tale, failed) = begun();
    tale.finished(&package("rabbit1"), 300, changed(vec![]));
    tale.finished(&package("rabbit2"), 2_140, failed);
    tale.end().compare("foreseen", false);
}

#[test]
fn nothing_begins_where_something_is_foreseen_and_that_is_said() {
    let (mut tale, failed) = begun();
    tale.finished(&package("rabbit2"), 0, failed);
    tale.finished(&package("rabbit1"), 0, Outcome::Cancelled).end();
    let options = Options { verbose: false, color: false, width: 80 };
    let advice =
        Advice { anew: "haflow run p.rhai --all-or-nothing".into(), all_or_nothing: true, ..Advice::default() };
    let text = tale.advised(false, options, advice);
    let said = "nothing was changed: something is known to fail, and with `--all-or-nothing`\nnothing begins then\n";
    assert!(text.contains(said), "{text}");
}
