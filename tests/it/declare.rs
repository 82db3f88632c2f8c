//! What the compiler says about a declaration that cannot work. rustc is asked directly: a whole build for each
//! program, as `trybuild` makes, takes minutes.

use super::Folder;
use std::{env, fs, path::PathBuf, process::Command};

/// The library that was built with these tests, beside them: the newest one.
fn facade() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let built = fs::read_dir(tests.parent().unwrap()).unwrap().map(|entry| entry.unwrap());
    let facades = built.filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("libactix_swarm-") && name.ends_with(".rlib")
    });
    facades.max_by_key(|facade| facade.metadata().unwrap().modified().unwrap()).unwrap().path()
}

/// What rustc says about a program that depends on the facade alone, without serde.
#[track_caller]
fn refusal(name: &str, program: &str) -> String {
    let folder = Folder::new(&format!("declare-{name}"));
    let facade = facade();
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--emit", "metadata", "--color", "never", "--out-dir"])
        .arg(&folder.0)
        .arg("-L")
        .arg(format!("dependency={}", facade.parent().unwrap().display()))
        .arg("--extern")
        .arg(format!("actix_swarm={}", facade.display()))
        .arg(folder.write("main.rs", program))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "the program compiles: {said}");
    said
}

/// Asserts that every part was said.
#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn a_forgotten_handler_is_named() {
    let program = "
        use actix_swarm::{Mailbox, correlator::Correlator, protocol, protocols::certificates::RevocationList};
        protocol! { Revocations = \"revocations\" { RevocationList } }
        fn main() {
            let _mailbox: Mailbox<Revocations> = Mailbox::local::<Correlator>(panic!());
        }";
    let said = refusal("handler", program);
    let (actor, request) =
        ("actix_swarm::correlator::Correlator", "actix_swarm::swarm_protocols::certificates::RevocationList");
    says(
        &said,
        &[
            &format!("error[E0277]: `{actor}` does not handle `{request}`\n"),
            "an actor that handles every request of the protocol is expected\n",
            &format!("= note: implement `Handler<Call<{request}>>` for `{actor}`\n"),
        ],
    );
    assert_eq!(said.matches("error[").count(), 1, "{said}");
}

#[test]
fn a_name_that_no_peer_would_take_is_shown() {
    let program = "
        use actix_swarm::{Request, protocol, protocols::certificates::RevocationList};
        #[derive(Request)]
        #[request(name = \"Match_Pattern\")]
        struct MatchPattern;
        protocol! { Revocations = \"revocations-\" { RevocationList } }
        fn main() {}";
    let rule = "63 or fewer lower-case letters, digits and inner hyphens are expected\n";
    says(
        &refusal("name", program),
        &[
            &format!("\"Match_Pattern\" is not a valid name: {rule}"),
            "main.rs:4:26\n",
            &format!("the name of the protocol `Revocations` is not valid: {rule}"),
        ],
    );
}

#[test]
fn a_wrong_attribute_is_shown_with_what_to_write() {
    for (attribute, place, what_to_write) in [
        ("", "3:8", "write `#[request(name = \"match-pattern\")]`"),
        ("#[request(name = match)]", "2:18", "a text such as `name = \"match-pattern\"` is expected"),
        ("#[request(name = \"get\", version = \"2\")]", "2:35", "a number such as `version = 2` is expected"),
        ("#[request(name = \"get\", replies = u8)]", "2:25", "the keys are `name`, `version`, `reply`"),
    ] {
        let program =
            format!("#[derive(actix_swarm::Request)]\n{attribute}\nstruct MatchPattern;\nfn main() {{}}\n");
        says(&refusal("attribute", &program), &[what_to_write, &format!("main.rs:{place}\n")]);
    }
}
