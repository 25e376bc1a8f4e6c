use haflow_lab::*;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let p = |x: Progress| eprintln!("{x:?}");
    let r = match &*a[0] {
        "supported" => supported(),
        "up" => Lab::up(&a[1], &a[3..], &a[2], &p).map(|l| println!("{l:#?}")),
        "down" => Lab::down(&a[1], &p),
        "list" => Lab::list().map(|l| println!("{l:#?}")),
        "ssh" => Lab::find(&a[1]).and_then(|l| l.unwrap().ssh_args(&a[2])).map(|x| { std::process::Command::new("ssh").args(x).args(&a[3..]).status().unwrap(); }),
        "kill" => Lab::find(&a[1]).and_then(|l| l.unwrap().kill(&a[2])),
        "boot" => Lab::find(&a[1]).and_then(|l| l.unwrap().boot(&a[2])),
        "cut" => Lab::find(&a[1]).and_then(|l| l.unwrap().cut(&a[2])),
        "heal" => Lab::find(&a[1]).and_then(|l| l.unwrap().heal(&a[2])),
        _ => panic!(),
    };
    if let Err(e) = r { eprintln!("{e}\n{e:?}"); std::process::exit(1) }
}
