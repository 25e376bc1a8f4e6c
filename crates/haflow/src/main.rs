//! Runs playbooks across hosts as one dependency graph over SSH.

fn main() -> std::process::ExitCode {
    haflow::main()
}
