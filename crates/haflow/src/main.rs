//! Runs playbooks across hosts as one dependency graph.

mod inventory;
mod report;

fn main() {
    let file = std::env::args().nth(1).unwrap_or_default();
    let options = report::Options::detect(report::Format::detect(), false);
    match inventory::read(&inventory::Source::File(file.into())) {
        Ok(inventory) => println!("{}", serde_json::to_string_pretty(&inventory).unwrap_or_default()),
        Err(wrong) => eprint!("{}", report::diagnostic(&wrong, options.color, options.width)),
    }
}
