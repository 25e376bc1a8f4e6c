//! The only way outward: events, stamped and with secrets taken out by value; and those that must be kept
//! before what they tell of begins.

mod mask;
mod views;

use crate::events::mask::Mask;
use haflow_model::{Event, Record, Secret, Secrets, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Where plan and execute tell what happens. Its reader can't fall behind by much.
pub struct Events {
    sender: mpsc::Sender<Told>,
    mask: Mutex<Mask>,
}

/// An event on its way outward.
#[derive(Debug)]
pub struct Told {
    /// The event, and when it happened.
    pub record: Record,
    awaited: Option<oneshot::Sender<()>>,
}

impl Told {
    /// Whether what it tells of waits until it is kept.
    pub fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// It is kept: what waits for that goes on. Where this isn't called, it never begins.
    pub fn kept(&mut self) {
        if let Some(awaited) = self.awaited.take() {
            // The receiver is gone where the task that waited was interrupted.
            let _ = awaited.send(());
        }
    }
}

/// An event wasn't kept: what it tells of must not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotKept;

impl Events {
    /// A way outward and its other end.
    pub fn channel() -> (Self, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(256);
        (Self { sender, mask: Mutex::default() }, receiver)
    }

    /// From here on, `secret` appears in no event, wherever a host prints it.
    pub(crate) fn conceal(&self, secret: &Secret) {
        self.mask.lock().expect("no panic holds it").add(secret);
    }

    /// The same of all these.
    pub(crate) fn conceal_all(&self, secrets: &Secrets) {
        secrets.iter().for_each(|(_, secret)| self.conceal(secret));
    }

    /// Tells what happened. If nobody listens any more, nobody is told.
    pub(crate) async fn emit(&self, event: Event) {
        let _ = self.sender.send(Told { record: self.stamped(event), awaited: None }).await;
    }

    /// Tells what is about to be done, and returns when that is kept.
    pub(crate) async fn intend(&self, event: Event) -> Result<(), NotKept> {
        let (awaited, kept) = oneshot::channel();
        let told = Told { record: self.stamped(event), awaited: Some(awaited) };
        self.sender.send(told).await.map_err(|_| NotKept)?;
        kept.await.map_err(|_| NotKept)
    }

    fn stamped(&self, event: Event) -> Record {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Record { at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX), event: self.redacted(event) }
    }

    /// The same without any secret that is known by now.
    pub(crate) fn redacted<T: Serialize + DeserializeOwned>(&self, told: T) -> T {
        let mask = self.mask.lock().expect("no panic holds it");
        if mask.is_empty() {
            return told;
        }
        let mut value = serde_json::to_value(&told).expect("what is told is data");
        let words = words(&value);
        if !hide(&mut value, &mask) {
            return told;
        }
        // A secret may be a word such as `change`.
        for (path, word) in words {
            if let Some(place) = value.pointer_mut(path) {
                *place = word;
            }
        }
        serde_json::from_value(value).expect("it stays what it is when texts in it change")
    }
}

/// The words of haflow's own in what is told, and the playbook's: which event, decision or outcome it is, the
/// digest of a state, and the run, the hosts and the tasks that it is about.
fn words(value: &Value) -> Vec<(&'static str, Value)> {
    let own = [
        "/event",
        "/decision/decision",
        "/outcome",
        "/state",
        "/run",
        "/task",
        "/host",
        "/kind",
        "/name",
        "/hosts",
        "/place",
        "/playbook",
        "/critical_path",
        "/because",
        "/assumed/because",
        "/decision/because",
    ];
    // The decision is a word in an event, and all that was decided in a plan.
    let decision = value.pointer("/decision").filter(|decision| decision.is_string());
    let own = own.into_iter().filter_map(|path| Some((path, value.pointer(path)?.clone())));
    own.chain(decision.map(|word| ("/decision", word.clone()))).collect()
}

/// Whether anything had to be hidden.
fn hide(value: &mut Value, mask: &Mask) -> bool {
    match value {
        Value::String(text) => match mask.hide(text) {
            Some(hidden) => {
                *text = hidden;
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |hidden, item| hide(item, mask) | hidden),
        Value::Object(map) => map.iter_mut().fold(false, |hidden, (key, item)| {
            match key.as_str() {
                // What a host printed, or is to have.
                "was" | "want" | "output" => hide_any(item, mask) | hidden,
                // Sizes and digests.
                "opaque" => hidden,
                _ => hide(item, mask) | hidden,
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The same in any JSON, where a secret may be a number or a key.
fn hide_any(value: &mut Value, mask: &Mask) -> bool {
    match value {
        Value::Number(number) => match mask.hide(&number.to_string()) {
            Some(hidden) => {
                *value = hidden.into();
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |hidden, item| hide_any(item, mask) | hidden),
        Value::Object(map) => {
            let mut any = false;
            for (key, mut item) in std::mem::take(map) {
                let hidden = mask.hide(&key);
                any |= hide_any(&mut item, mask) | hidden.is_some();
                map.insert(hidden.unwrap_or(key), item);
            }
            any
        }
        value => hide(value, mask),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haflow_model::{Failure, Outcome, Place, TaskRef};

    #[test]
    fn a_secret_that_a_host_prints_is_hidden() {
        let (events, _receiver) = Events::channel();
        events.conceal(&Secret::new("s3\"cr\net"));
        let task = TaskRef {
            id: "a/act:1".into(),
            host: "a".into(),
            kind: "act".into(),
            name: "1".into(),
            place: Place::file("p.rhai"),
        };
        let failure = Failure { stderr: "it is s3\"cr\net, no?".into(), ..Failure::default() };
        let outcome = Outcome::Failed { failure: Box::new(failure) };
        let Event::TaskFinished { outcome: Outcome::Failed { failure }, .. } =
            events.redacted(Event::TaskFinished { task, outcome, output: None, took_ms: 0 })
        else {
            panic!("the event stays what it was")
        };
        assert_eq!(failure.stderr, "it is ‹secret›, no?");
    }
}
