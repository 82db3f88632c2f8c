//! `swarm ca`: an authority in a folder, and nodes that run with what it issued.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use swarm_actors::identity::{AuthorityFolder, Identity, Standing};
use swarm_protocols::Role;

use crate::processes::Running;
use crate::{Folder, Run, swarm, swarm_reading};

/// An authority in the folder of a test.
pub(crate) struct Cluster {
    pub(crate) folder: Folder,
    pub(crate) authority: String,
}

impl Cluster {
    pub(crate) fn new(test: &str) -> Self {
        let folder = Folder::new(test);
        let authority = folder.path("ca");
        assert_eq!(swarm(&["ca", "init", &authority]).code, Some(0));
        Self { folder, authority }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    /// Runs `swarm ca VERB AUTHORITY ARGUMENTS… -o json`.
    pub(crate) fn ca(&self, verb: &str, arguments: &[&str]) -> Run {
        swarm(&[&["ca", verb, &self.authority], arguments, &["-o", "json"]].concat())
    }

    pub(crate) fn issue(&self, name: &str, role: &str) -> Value {
        self.ca("issue", &[name, "--role", role, "--out", &self.path(name)]).json()
    }

    fn renew(&self, name: &str, arguments: &[&str]) -> Run {
        self.ca("renew", &[&[name, "--out", &self.path(name)], arguments].concat())
    }

    fn show(&self) -> Value {
        self.ca("show", &[]).json()
    }

    pub(crate) fn token(&self, name: &str, role: &str) -> String {
        let token = self.ca("token", &[name, "--role", role]).json();
        token["token"].as_str().unwrap().to_owned()
    }

    fn sign(&self, request: &str, token: &str, out: &str) -> Run {
        self.ca("sign", &["--request", request, "--token", token, "--out", out])
    }

    /// Makes a key and a request in the folder `name`, and gives the file of the request.
    fn request(&self, name: &str) -> String {
        let requested = swarm(&["ca", "request", name, "--out", &self.path(name), "-o", "json"]).json();
        requested["request"].as_str().unwrap().to_owned()
    }

    /// The file of a node whose identity is the folder of its name.
    pub(crate) fn node(&self, name: &str, rest: &str) -> String {
        let text = format!(
            "name = \"{name}\"\nlisten = \"127.0.0.1:0\"\n{rest}\n[identity]\ncertificate = \"{name}/node.pem\"\n\
             key = \"{name}/node.key.pem\"\nauthority = \"{name}/authority.pem\"\nrevoked = \"{name}/revoked.pem\"\n"
        );
        self.folder.write(&format!("{name}.toml"), text)
    }

    pub(crate) fn agent(&self, name: &str, address: impl std::fmt::Display) -> String {
        let rest = format!(
            "role = \"agent\"\nagent_type = \"pattern-matcher\"\n\
             connect = [{{ name = \"hub\", address = \"{address}\" }}]"
        );
        self.node(name, &rest)
    }
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn load(folder: &str) -> Identity {
    Identity::load_directory(Path::new(folder)).unwrap()
}

#[test]
fn an_authority_issues_identities_that_only_their_owner_can_read() {
    let cluster = Cluster::new("ca_issue");
    let issued = cluster.issue("agent-1", "agent");
    let folder = cluster.path("agent-1");
    let identity = load(&folder);
    assert_eq!((identity.id().as_str(), identity.role()), ("agent-1", Role::Agent));
    assert_eq!(issued["name"], "agent-1");
    assert_eq!(issued["role"], "agent");
    assert_eq!(issued["serial"], identity.as_peer().serial.to_string());
    assert_eq!(issued["directory"], folder);
    let days = identity.valid_until().duration_since(SystemTime::now()).unwrap().as_secs() / 86_400;
    assert_eq!(days, 89, "90 days, less the moment that has passed");

    let file = |name| cluster.folder.0.join(name);
    for (private, expected) in [
        ("ca", 0o700),
        ("ca/authority.key.pem", 0o600),
        ("ca/register.txt", 0o600),
        ("agent-1", 0o700),
        ("agent-1/node.key.pem", 0o600),
    ] {
        assert_eq!(mode(file(private)), expected, "{private}");
    }
    for name in ["authority.pem", "revoked.pem"] {
        assert_eq!(fs::read(file("ca").join(name)).unwrap(), fs::read(file("agent-1").join(name)).unwrap());
    }
}

#[test]
fn what_is_there_is_not_replaced_by_a_second_run() {
    let cluster = Cluster::new("ca_twice");
    let before = fs::read(cluster.path("ca/authority.key.pem")).unwrap();
    cluster.ca("init", &[]).fails(1, &["ca is there already"]);
    assert_eq!(fs::read(cluster.path("ca/authority.key.pem")).unwrap(), before);

    cluster.issue("a", "agent");
    let key = fs::read(cluster.path("a/node.key.pem")).unwrap();
    cluster.ca("issue", &["a", "--role", "agent", "--out", &cluster.path("a")]).fails(1, &["node.key.pem"]);
    let elsewhere = cluster.path("elsewhere");
    cluster
        .ca("issue", &["a", "--role", "operator", "--out", &elsewhere])
        .fails(1, &["a has a certificate as agent until", "renew it, or revoke it first"]);
    swarm(&["ca", "request", "a", "--out", &cluster.path("a")]).fails(1, &["node.key.pem", "--force"]);
    assert_eq!(fs::read(cluster.path("a/node.key.pem")).unwrap(), key);
    assert_eq!(cluster.show()["certificates"].as_array().unwrap().len(), 1, "nothing else was issued");

    cluster.ca("issue", &["a", "--role", "agent", "--out", &cluster.path("a"), "--force"]).json();
    assert_ne!(fs::read(cluster.path("a/node.key.pem")).unwrap(), key);
    load(&cluster.path("a"));
}

#[test]
fn a_folder_that_cannot_be_made_costs_no_certificate() {
    let cluster = Cluster::new("ca_nowhere");
    let nowhere = cluster.path("no/such/folder");
    cluster.ca("issue", &["a", "--role", "agent", "--out", &nowhere]).fails(78, &["cannot make the folder"]);
    let token = cluster.token("b", "agent");
    let request = cluster.request("b");
    cluster.sign(&request, &token, &cluster.path("no/such/file")).fails(1, &["there is no folder"]);
    assert_eq!(cluster.show()["certificates"], Value::Array(Vec::new()));
    assert_eq!(cluster.show()["tokens"][0]["state"], "open");
}

#[test]
fn a_certificate_that_could_not_be_written_is_said_to_be_in_the_register() {
    let cluster = Cluster::new("ca_unwritten");
    // Nothing takes the place of a folder, as nothing is written to a disk that is full.
    let out = cluster.path("a");
    std::fs::create_dir_all(format!("{out}/authority.pem/in the way")).unwrap();
    set_mode(&out, 0o700);
    let unwritten = |run: Run| {
        run.fails(
            1,
            &["authority.pem", " of a is in the register but was not written: ", "again with --force"],
        );
        let shown = cluster.show();
        let last = shown["certificates"].as_array().unwrap().last().unwrap().clone();
        assert!(run.stderr.contains(last["serial"].as_str().unwrap()), "{}", run.stderr);
    };
    unwritten(cluster.ca("issue", &["a", "--role", "agent", "--out", &out]));
    unwritten(cluster.ca("issue", &["a", "--role", "agent", "--out", &out, "--force"]));
    unwritten(cluster.renew("a", &[]));
    std::fs::remove_dir_all(format!("{out}/authority.pem")).unwrap();
    cluster.ca("issue", &["a", "--role", "agent", "--out", &out, "--force"]).json();
}

#[test]
fn renewing_makes_a_new_key() {
    let cluster = Cluster::new("ca_renew");
    cluster.issue("a", "coordinator");
    let (folder, first) = (cluster.path("a"), load(&cluster.path("a")));
    cluster.renew("a", &["--days", "120"]).json();
    let second = load(&folder);
    assert_ne!(second.to_pem().key.as_str(), first.to_pem().key.as_str());
    assert_eq!(second.role(), Role::Coordinator);
    assert!(second.valid_until() > first.valid_until());
    assert_ne!(second.as_peer().serial, first.as_peer().serial);

    cluster.issue("b", "agent");
    cluster.ca("renew", &["b", "--out", &folder]).fails(1, &[&format!("{folder} is the identity of a")]);
    cluster.renew("unheard-of", &[]).fails(1, &["nothing was ever issued for unheard-of"]);
    cluster.ca("revoke", &["b"]).json();
    cluster.renew("b", &[]).fails(1, &["the certificate of b was revoked"]);
}

#[test]
fn an_authority_takes_over_from_another_by_way_of_identities_that_trust_both() {
    let cluster = Cluster::new("ca_trust");
    let next = Cluster::new("ca_trust_next");
    cluster.issue("a", "agent");
    cluster.issue("b", "agent");
    next.issue("gone", "agent");
    next.ca("revoke", &["gone"]).json();
    let before = load(&cluster.path("b"));

    cluster.renew("a", &["--trust", &next.authority]).json();
    let a = load(&cluster.path("a"));
    assert_eq!(a.revocation_list().len(), 1, "the list of the other authority is there too");
    let out = cluster.path("b");
    let issue = ["b", "--role", "agent", "--out", &out, "--force", "--trust", &cluster.authority];
    next.ca("issue", &issue).json();
    let b = load(&out);
    assert_ne!(b.to_pem().certificate, before.to_pem().certificate);
    let trusted = |identity: &Identity| identity.to_pem().authority.matches("BEGIN CERTIFICATE").count();
    assert_eq!((trusted(&a), trusted(&b), trusted(&before)), (2, 2, 1));
    next.ca("renew", &["b", "--out", &out]).json();
    assert_eq!(trusted(&load(&out)), 1);

    let count = cluster.show()["certificates"].as_array().unwrap().len();
    let nowhere = cluster.path("nowhere");
    cluster.renew("a", &["--trust", &nowhere]).fails(78, &[&nowhere, "authority.pem"]);
    let damaged = Folder::new("ca_trust_damaged");
    fs::copy(next.path("ca/authority.pem"), damaged.path("authority.pem")).unwrap();
    damaged.write("revoked.pem", "nothing");
    cluster
        .renew("a", &["--trust", damaged.0.to_str().unwrap()])
        .fails(78, &["ca_trust_damaged", "revocation list"]);
    assert_eq!(cluster.show()["certificates"].as_array().unwrap().len(), count, "nothing was issued");
}

#[test]
fn revoking_is_listed_and_can_be_repeated() {
    let cluster = Cluster::new("ca_revoke");
    let serial = cluster.issue("a", "agent")["serial"].clone();
    cluster.issue("b", "agent");
    let revoked = cluster.ca("revoke", &["a"]).json();
    assert_eq!((&revoked["name"], &revoked["revoked"]), (&"a".into(), &Value::Array(vec![serial])));
    assert_eq!(cluster.ca("revoke", &["a"]).json()["revoked"], Value::Array(Vec::new()));
    cluster.ca("revoke", &["c"]).fails(1, &["nothing was ever issued for c"]);
    // Who gets a certificate later gets the list with it.
    cluster.renew("b", &[]).json();
    let list = load(&cluster.path("b"));
    assert!(list.revocation_list().check(load(&cluster.path("a")).as_peer()).is_err());
    assert!(list.revocation_list().check(list.as_peer()).is_ok());
}

#[test]
fn show_lists_what_was_issued_and_what_is_due() {
    let cluster = Cluster::new("ca_show");
    cluster.issue("hub", "coordinator");
    cluster.issue("gone", "agent");
    cluster.ca("revoke", &["gone"]).json();
    let out = cluster.path("due");
    // The clock of this test does not wait: the library issues what is in its last third.
    let now = SystemTime::now();
    let due = swarm_actors::identity::Validity::new(
        now - Duration::from_secs(86_400),
        now + Duration::from_secs(3_600),
    );
    let folder = AuthorityFolder::open(Path::new(&cluster.authority)).unwrap();
    let refuse = swarm_actors::identity::OnExisting::Refuse;
    folder.issue(&"due".parse().unwrap(), Role::Agent, due.unwrap(), refuse).unwrap();
    cluster.token("next", "operator");

    let shown = cluster.show();
    assert_eq!(shown["cluster"], "swarm");
    assert_eq!(shown["fingerprint"], folder.authority().fingerprint());
    assert_eq!(shown["revocation_list"]["revoked"], 1);
    let rows: Vec<_> = shown["certificates"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(rows, ["hub coordinator valid", "gone agent revoked", "due agent expiring"]);
    assert!(shown["certificates"][1]["revoked_at"].is_string());
    assert!(shown["certificates"][0]["revoked_at"].is_null());
    assert_eq!(row(&shown["tokens"][0]), "next operator open");

    let text = swarm(&["ca", "show", &cluster.authority]);
    assert_eq!(text.code, Some(0));
    for part in
        ["authority of swarm until ", "hub   coordinator  ", "revoked", "to be renewed: 1", "JOIN TOKEN"]
    {
        assert!(text.stdout.contains(part), "{part:?} is missing in {}", text.stdout);
    }
    assert!(!text.stdout.contains("PRIVATE"));
    cluster.ca("renew", &["due", "--out", &out]).json();
    assert_eq!(row(&cluster.show()["certificates"][2]), "due agent renewed");
    assert_eq!(Standing::Expiring.as_str(), "expiring");
}

fn row(shown: &Value) -> String {
    let word = |key: &str| shown[key].as_str().unwrap().to_owned();
    [word("name"), word("role"), word("state")].join(" ")
}

#[test]
fn a_token_lets_one_machine_in_with_a_key_of_its_own() {
    let cluster = Cluster::new("ca_token");
    let (token, request) = (cluster.token("a", "agent"), cluster.request("a"));
    let (key, out) = (cluster.path("a/node.key.pem"), cluster.path("a/node.pem"));
    assert_eq!((mode(cluster.path("a")), mode(&key)), (0o700, 0o600));
    for line in fs::read_to_string(cluster.path("ca/register.txt")).unwrap().lines() {
        assert!(!line.contains(token.rsplit('.').next().unwrap()), "the register holds the secret");
    }

    let other = cluster.request("b");
    cluster
        .sign(&other, &token, &cluster.path("b/node.pem"))
        .fails(77, &["the join token is for a, the request for b"]);
    let signed = cluster.sign(&request, &token, &out).json();
    assert_eq!((&signed["name"], &signed["role"]), (&"a".into(), &"agent".into()));
    let thief = swarm(&["ca", "request", "a", "--out", &cluster.path("thief"), "-o", "json"]).json();
    let thief = thief["request"].as_str().unwrap().to_owned();
    cluster.sign(&thief, &token, &cluster.path("thief.pem")).fails(77, &["used before"]);
    assert!(!Path::new(&cluster.path("thief.pem")).exists());
    // For the same key it is no other certificate.
    let again = cluster.sign(&request, &token, &cluster.path("again.pem")).json();
    assert_eq!(again["serial"], signed["serial"]);
    for name in ["authority.pem", "revoked.pem"] {
        fs::copy(cluster.path(&format!("ca/{name}")), cluster.path(&format!("a/{name}"))).unwrap();
    }
    let identity = load(&cluster.path("a"));
    assert_eq!(identity.as_peer().serial.to_string(), signed["serial"].as_str().unwrap());

    // The same for a second certificate, with the token on standard input.
    let token = swarm(&["ca", "token", &cluster.authority, "a", "--role", "agent"]).stdout;
    let arguments = ["ca", "sign", &cluster.authority, "--request", &request, "--token", "-", "--out", &out];
    swarm_reading(&arguments, token.as_bytes()).fails(1, &["node.pem is there already"]);
    assert_eq!(swarm_reading(&[&arguments[..], &["--force"]].concat(), token.as_bytes()).code, Some(0));
    assert_ne!(load(&cluster.path("a")).as_peer().serial, identity.as_peer().serial);
}

#[test]
fn tokens_that_are_late_forged_foreign_or_taken_back_are_refused() {
    let cluster = Cluster::new("ca_refused");
    let (request, out) = (cluster.request("a"), cluster.path("a/node.pem"));
    let folder = AuthorityFolder::open(Path::new(&cluster.authority)).unwrap();
    let late = SystemTime::now() - Duration::from_secs(60);
    let late = folder.join_token(&"a".parse().unwrap(), Role::Agent, late).unwrap();
    cluster.sign(&request, late.as_str(), &out).fails(77, &["expired at"]);
    let token = cluster.token("a", "agent");
    let forged = token.replace(".agent.", ".coordinator.");
    cluster.sign(&request, &forged, &out).fails(77, &["the authority did not make this join token"]);
    cluster.sign(&request, "secret", &out).fails(65, &["the token: this is no join token"]);
    let other = Cluster::new("ca_refused_other");
    other.sign(&request, &token, &out).fails(77, &["another authority"]);
    cluster.ca("revoke", &["a"]).json();
    cluster.sign(&request, &token, &out).fails(77, &["taken back"]);
    assert!(!Path::new(&out).exists());
    assert_eq!(cluster.show()["certificates"], Value::Array(Vec::new()));
}

#[test]
fn requests_that_cannot_be_read_are_bad_input() {
    let cluster = Cluster::new("ca_requests");
    let (token, request) = (cluster.token("a", "agent"), cluster.request("a"));
    let out = cluster.path("a/node.pem");
    let text = fs::read_to_string(&request).unwrap();
    let body = text.lines().nth(1).unwrap();
    let flipped: String = body.chars().rev().collect();
    for (name, content) in [
        ("empty", String::new()),
        ("text", "hello".to_owned()),
        ("key", fs::read_to_string(cluster.path("a/node.key.pem")).unwrap()),
        ("changed", text.replace(body, &flipped)),
        ("cut", text.replace(body, &body[..32])),
        ("long", "x".repeat(100_000)),
    ] {
        let bad = cluster.folder.write(name, content);
        cluster.sign(&bad, &token, &out).fails(65, &["signing request", &bad]);
    }
    cluster.sign(&cluster.path("missing"), &token, &out).fails(65, &["missing"]);
    cluster.sign(&request, &token, &out).json();
}

#[test]
fn an_authority_that_is_open_to_others_is_refused() {
    let cluster = Cluster::new("ca_modes");
    cluster.issue("a", "agent");
    for (path, usual, open) in [("ca", 0o700, 0o755), ("ca/authority.key.pem", 0o600, 0o640)] {
        let path = cluster.path(path);
        set_mode(&path, open);
        for (verb, arguments) in [("show", &[][..]), ("revoke", &["a"]), ("token", &["b", "--role", "agent"])]
        {
            cluster.ca(verb, arguments).fails(77, &[&path, &format!("mode {open:o}")]);
        }
        set_mode(&path, usual);
    }
    assert_eq!(row(&cluster.show()["certificates"][0]), "a agent valid");
}

#[test]
fn an_authority_that_was_tampered_with_is_refused() {
    let cluster = Cluster::new("ca_tampered");
    cluster.issue("a", "agent");
    let stranger = Cluster::new("ca_tampered_stranger");
    stranger.issue("x", "agent");
    stranger.ca("revoke", &["x"]).json();
    let foreign = |name: &str| fs::read(stranger.path(&format!("ca/{name}"))).unwrap();
    let register = fs::read_to_string(cluster.path("ca/register.txt")).unwrap();
    for (name, content, part) in [
        ("register.txt", register.replace(" agent ", " root ").into_bytes(), "register.txt: line 2"),
        ("register.txt", register.trim_end().as_bytes().to_vec(), "line 2: the end of the line is missing"),
        ("register.txt", Vec::new(), "register.txt: line 1"),
        ("revoked.pem", foreign("revoked.pem"), "the authority of the cluster did not issue it"),
        ("revoked.pem", b"nothing".to_vec(), "revoked.pem"),
        (
            "authority.pem",
            foreign("authority.pem"),
            "authority.key.pem: it does not belong to the certificate",
        ),
        (
            "authority.pem",
            fs::read(cluster.path("a/node.pem")).unwrap(),
            "it may not sign other certificates",
        ),
        ("authority.key.pem", b"no key".to_vec(), "private key"),
    ] {
        let path = cluster.path(&format!("ca/{name}"));
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let run = cluster.ca("issue", &["b", "--role", "agent", "--out", &cluster.path("b")]);
        run.fails(78, &[part]);
        fs::write(&path, before).unwrap();
    }
    swarm(&["ca", "show", &cluster.path("missing")]).fails(78, &["missing"]);
    cluster.show();
}

#[test]
fn wrong_usage_of_ca_exits_with_2() {
    let cluster = Cluster::new("ca_usage");
    let (ca, out) = (cluster.authority.as_str(), cluster.path("out"));
    for arguments in [
        vec!["ca"],
        vec!["ca", "init"],
        vec!["ca", "init", &out, "--days", "0"],
        vec!["ca", "init", &out, "--name", "two\nlines"],
        vec!["ca", "issue", ca, "a", "--out", &out],
        vec!["ca", "issue", ca, "a", "--role", "root", "--out", &out],
        vec!["ca", "issue", ca, "Agent", "--role", "agent", "--out", &out],
        vec!["ca", "issue", ca, "a.b", "--role", "agent", "--out", &out],
        vec!["ca", "issue", ca, "a", "--role", "agent"],
        vec!["ca", "issue", ca, "a", "--role", "agent", "--out", &out, "--days", "-1"],
        vec!["ca", "token", ca, "a", "--role", "agent", "--expires", "0"],
        vec!["ca", "token", ca, "a", "--role", "agent", "--expires", "2592001"],
        vec!["ca", "sign", ca, "--request", "-", "--token", "-", "--out", &out],
        vec!["ca", "sign", ca, "--request", &out, "--out", &out],
        vec!["ca", "revoke", ca],
    ] {
        let run = swarm(&arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
    assert!(!Path::new(&out).exists());
    let longer = cluster.ca("issue", &["a", "--role", "agent", "--out", &out, "--days", "4000"]);
    longer.fails(1, &["would outlive its authority"]);
}

#[test]
fn nodes_run_with_what_the_authority_issued_until_it_is_revoked() {
    let cluster = Cluster::new("ca_nodes");
    cluster.issue("agent-1", "agent");
    // The second agent made its own key.
    let request = cluster.request("agent-2");
    cluster.sign(&request, &cluster.token("agent-2", "agent"), &cluster.path("agent-2/node.pem")).json();
    for name in ["authority.pem", "revoked.pem"] {
        fs::copy(cluster.path(&format!("ca/{name}")), cluster.path(&format!("agent-2/{name}"))).unwrap();
    }
    cluster.issue("revoked", "agent");
    cluster.ca("revoke", &["revoked"]).json();
    cluster.issue("hub", "coordinator");

    let hub = cluster.node("hub", "role = \"coordinator\"");
    let mut hub = Running::start(&["node", "--config", &hub]);
    let address = hub.listens_on();
    let agents = ["agent-1", "agent-2"].map(|name| {
        let mut agent = Running::start(&["node", "--config", &cluster.agent(name, address)]);
        agent.says(&format!("the agent {name} is ready"));
        agent
    });
    let refused = Running::start(&["node", "--config", &cluster.agent("revoked", address)]);
    refused.finish().fails(77, &["the certificate was revoked"]);

    // A renewed identity needs nothing but a start.
    agents[0].signal("TERM");
    let [stopped, running] = agents;
    stopped.finish().fails(143, &[]);
    cluster.renew("agent-1", &[]).json();
    let mut agent = Running::start(&["node", "--config", &cluster.agent("agent-1", address)]);
    agent.says("the agent agent-1 is ready");
    drop((agent, running, hub));

    fs::remove_file(cluster.path("hub/revoked.pem")).unwrap();
    let hub = cluster.node("hub", "role = \"coordinator\"");
    swarm(&["node", "--config", &hub]).fails(78, &["there is no file", "revoked.pem"]);
}

#[test]
fn f13_an_identity_without_its_revocation_list_lets_nobody_in_and_a_reload_keeps_the_list_in_force() {
    let cluster = Cluster::new("ca_no_list");
    let older = fs::read(cluster.path("ca/revoked.pem")).unwrap();
    cluster.issue("gone", "agent");
    cluster.ca("revoke", &["gone"]).json();
    cluster.issue("hub", "coordinator");
    cluster.issue("desk", "operator");
    let text = "name = \"hub\"\nrole = \"coordinator\"\nlisten = \"127.0.0.1:0\"\nidentity = \"hub\"\n";
    let hub = cluster.folder.write("hub.toml", text);
    let list = cluster.path("hub/revoked.pem");
    let mut running = Running::start(&["node", "--config", &hub]);
    let address = running.listens_on().to_string();
    fs::write(&list, older).unwrap();
    running.signal("HUP");
    running.says("is older than the one in force, which is kept");
    fs::remove_file(&list).unwrap();
    running.signal("HUP");
    running.says("not reloaded, what was there before stays: ");
    let gone = Running::start(&["node", "--config", &cluster.agent("gone", &address)]);
    gone.finish().fails(77, &["was revoked"]);
    drop(running);

    let twice = cluster.path("twice");
    cluster.ca("issue", &["hub", "--role", "agent", "--out", &twice]).fails(1, &[]);
    assert!(!Path::new(&twice).exists());

    let said = ["hub/revoked.pem: there is no such file", "copy it from the folder of the authority"];
    swarm(&["node", "--config", &hub]).fails(78, &said);
    let checked = swarm(&["config", "check", &hub]);
    assert!(checked.code == Some(78) && checked.stderr.contains(said[0]), "{}", checked.stderr);
    fs::remove_file(cluster.path("desk/revoked.pem")).unwrap();
    let desk = cluster.path("desk");
    swarm(&["status", "--connect", &address, "--identity", &desk])
        .fails(78, &["desk/revoked.pem: ", said[1]]);
    let authority = cluster.folder.write("ca.toml", text.replace("identity = \"hub\"", "identity = \"ca\""));
    swarm(&["node", "--config", &authority])
        .fails(78, &["ca.toml:4:12: ", "is an authority and no identity"]);
    // A renewed identity has one again.
    cluster.renew("hub", &[]).json();
    assert_eq!(swarm(&["config", "check", &hub]).code, Some(0));
}

#[test]
fn f13_who_signs_by_hand_is_told_what_the_folder_lacks_and_how_a_token_is_given() {
    let cluster = Cluster::new("ca_by_hand");
    let (out, token) = (cluster.path("a"), cluster.token("a", "agent"));
    let requested = swarm(&["ca", "request", "a", "--out", &out]).stdout;
    let signed = cluster.path("a/node.pem");
    let sign = |token: &str| {
        let request = cluster.path("a/request.pem");
        swarm(&["ca", "sign", &cluster.authority, "--request", &request, "--token", token, "--out", &signed])
    };
    let file = cluster.folder.write("token", &token);
    sign(&file).fails(65, &["this is no join token", "a file is given by `--token - < FILE`"]);
    for said in [requested, sign(&token).stdout] {
        assert!(
            ["node.pem", "authority.pem and revoked.pem"].iter().all(|part| said.contains(part)),
            "{said}"
        );
    }
}
