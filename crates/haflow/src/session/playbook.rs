//! The playbook that was asked for, and its params.

use crate::error::Error;
use clap::Args;
use haflow_model::Inventory;
use haflow_script::{Declared, ReadFacts, Request};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A playbook and what it is told.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Playbook {
    /// The playbook
    pub(crate) playbook: PathBuf,
    /// Gives a param of the playbook a value; `haflow check PLAYBOOK` lists them
    #[arg(short = 'e', long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) params: Vec<(String, String)>,
}

impl Playbook {
    fn params(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut params = BTreeMap::new();
        for (name, value) in &self.params {
            if params.insert(name.clone(), value.clone()).is_some() {
                return Err(Error::Usage {
                    message: format!("the param `{name}` is given twice"),
                    help: "keep one of the two".into(),
                });
            }
        }
        Ok(params)
    }

    /// What the playbook declares where no host is asked: facts are assumed, and hosts imagined if there is
    /// no inventory.
    pub(crate) fn imagine(&self, inventory: Option<&Inventory>) -> Result<Declared, Error> {
        self.declare(inventory, &mut haflow_script::assumed_facts, None)
    }

    pub(super) fn declare(
        &self,
        inventory: Option<&Inventory>,
        facts: &mut ReadFacts<'_>,
        interrupt: Option<Arc<AtomicBool>>,
    ) -> Result<Declared, Error> {
        let request = Request {
            playbook: &self.playbook,
            inventory,
            params: &self.params()?,
            facts,
            now: Timestamp::now(),
            interrupt,
        };
        Ok(haflow_script::declare(request)?)
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        _ if text.starts_with(['@', '{']) => Err(
            "unlike Ansible, haflow takes no file and no JSON of params here; each param has a `-e NAME=VALUE` of its \
             own"
            .into(),
        ),
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` isn't NAME=VALUE")),
    }
}
