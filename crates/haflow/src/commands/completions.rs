use crate::exit::Exit;
use crate::report::say;
use clap::{Args, Command};
use clap_complete::Shell;

/// Print a shell's completions.
///
/// For bash: `haflow completions bash > /etc/bash_completion.d/haflow`
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut program: Command) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "haflow", &mut script);
        say(&String::from_utf8_lossy(&script));
        Exit::Done
    }
}
