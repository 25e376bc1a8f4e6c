//! The end of a run, and its clock.

use super::*;

#[test]
fn what_to_type_next_can_be_pasted() {
    let options = Options { verbose: false, color: false, width: 80 };
    let last =
        |tale: &Tale, advice| tale.advised(true, options, advice).lines().last().unwrap().trim_start().to_owned();
    let [act, other] = ["job 1", "it's"].map(|name| task("web1", "act", name, 3, 1));
    let doubt = || Outcome::InDoubt { why: "it was killed".into() };
    let mut tale = Tale::new(&["web1"], 2);
    tale.finished(&act, 10, doubt()).finished(&other, 10, doubt()).end();
    let run = "haflow run p.rhai -i 'in v.toml'".to_owned();
    let advice = Advice { acts: [act.id.clone(), other.id.clone()].into(), anew: run.clone(), ..Advice::default() };
    let command = r"haflow resume 01HF --again 'web1/act:job 1' --again 'web1/act:it'\''s'";
    assert_eq!(last(&tale, advice.clone()), command);
    assert_eq!(shell_words::split(command).unwrap()[4], act.id);
    // What can be looked at is looked at.
    assert_eq!(last(&tale, Advice::default()), "haflow resume 01HF");
    assert_eq!(last(&tale, Advice { fresh: true, ..advice.clone() }), run);
    let mut tale = Tale::new(&["web1"], 1);
    tale.finished(&act, 10, Outcome::Failed { failure: Box::new(failure()) }).end();
    let text = tale.advised(false, options, advice.clone());
    assert!(text.contains("\n    haflow why 01HF 'web1/act:job 1'\n"), "{text}");
    // A resumed run has the params and the playbook of then.
    let both = format!("`resume` keeps both:\n    {run}\nto go on, once that is mended:\n    haflow resume 01HF\n");
    assert!(text.ends_with(&both), "{text}");
    // What was planned from is gone: a resume would stop there again.
    let mut drifted = failure();
    drifted.drifted = true;
    let mut tale = Tale::new(&["web1"], 1);
    tale.finished(&act, 10, Outcome::Failed { failure: Box::new(drifted) }).end();
    let plan = "haflow plan p.rhai -o new.plan".to_owned();
    let planned = Advice { anew: plan.clone(), planned: true, ..advice.clone() };
    let text = tale.advised(false, options, planned.clone());
    assert!(text.ends_with(&format!("then `haflow apply new.plan`:\n    {plan}\n")), "{text}");
    assert!(!text.contains("resume") && !text.contains("haflow run"), "{text}");
    // Also where something is in doubt besides, which is said first.
    let mut tale = Tale::new(&["web1"], 2);
    let mut drifted = failure();
    drifted.drifted = true;
    tale.finished(&act, 10, Outcome::Failed { failure: Box::new(drifted) }).finished(&other, 10, doubt()).end();
    let text = tale.advised(false, options, planned.clone());
    assert!(text.contains("look on the host first") && text.ends_with(&format!("\n    {plan}\n")), "{text}");
    // An approved plan isn't gone past by a run.
    let mut tale = Tale::new(&["web1"], 1);
    tale.finished(&act, 10, Outcome::Failed { failure: Box::new(failure()) }).end();
    let text = tale.advised(false, options, planned);
    assert!(text.contains(&plan) && !text.contains("haflow run"), "{text}");
    let mut tale = Tale::new(&["web1"], 1);
    tale.finished(&act, 10, Outcome::Ok).end();
    assert!(!tale.advised(false, options, advice).contains("haflow "), "all is done");
}

#[test]
fn times_count_what_it_took_to_connect() {
    let mut tale = Tale::new(&["web1"], 1);
    if let Event::RunStarted { connecting_ms, .. } = &mut tale.records[0].event {
        *connecting_ms = 3_600;
    }
    let text = tale.tell(true, Options { verbose: false, color: false, width: 80 });
    assert!(text.starts_with("     3.6 s  run  "), "{text}");
}
