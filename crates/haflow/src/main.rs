//! Runs playbooks across hosts as one dependency graph.

mod inventory;

fn main() {
    let file = std::env::args().nth(1).unwrap();
    println!("{:#?}", inventory::read(&inventory::Source::File(file.into())));
}
