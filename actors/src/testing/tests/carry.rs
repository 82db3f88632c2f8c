//! What cannot travel between two nodes fails in the unit test.

use super::*;
use swarm_protocols::Delivery;

/// Its field is left out where it is empty, which its receiver cannot know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Request)]
#[request(name = "find", reply = Found, error = Lost)]
struct Find {
    #[serde(skip)]
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u8>,
}

/// The encoding does not say which variant it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Found {
    Nothing,
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lost {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u8>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is lost")
    }
}

impl std::error::Error for Lost {}

protocol! { Finder = "finder" { Find } }

fn travelling() -> Find {
    Find { cached: true, limit: Some(3) }
}

fn delivery<T, E: std::error::Error>(answer: Result<T, AskError<E>>) -> Option<Delivery> {
    match answer {
        Err(AskError::Delivery(DeliveryError::Codec { delivery, .. })) => Some(delivery),
        _ => None,
    }
}

#[test]
fn a_probe_gets_what_would_arrive() {
    without_actix(async {
        let (finder, mut probe) = Probe::<Finder>::new();
        let test = async {
            let asked = probe.expect::<Find>().await;
            assert_eq!(asked.request(), &Find { cached: false, limit: Some(3) });
            asked.reply(Err(Lost { since: Some(1) }));
        };
        let (answer, ()) = tokio::join!(async { finder.ask(travelling()).await }, test);
        assert_eq!(answer, Err(AskError::Handler(Lost { since: Some(1) })));
    });
}

#[test]
fn a_probe_names_the_request_that_cannot_travel() {
    let panic = panic_of(async {
        let (finder, mut probe) = Probe::<Finder>::new();
        assert_eq!(delivery(finder.ask(Find::default()).await), Some(Delivery::NotSent));
        probe.expect::<Find>().await;
    });
    assert!(panic.contains("tests/carry.rs:"), "{panic}");
    assert!(panic.contains("a request came that cannot travel: find: not decodable as"), "{panic}");

    let panic = panic_of(async {
        let (finder, mut probe) = Probe::<Finder>::new();
        let refused = finder.tell(Find::default()).await.unwrap_err();
        assert_eq!(refused.message, Some(Find::default()));
        probe.expect_none(SECOND).await;
    });
    assert!(panic.contains("a request came that cannot travel: find: not decodable as"), "{panic}");
}

#[test]
fn a_probe_names_the_answer_that_cannot_travel() {
    for answer in [Ok(Found::Text("here".to_owned())), Err(Lost { since: None })] {
        let panic = panic_of(async {
            let (finder, mut probe) = Probe::<Finder>::new();
            let test = async { probe.expect::<Find>().await.reply(answer) };
            let _ends_with_a_panic = tokio::join!(async { finder.ask(travelling()).await }, test);
        });
        assert!(panic.starts_with("cannot travel: the answer to find: not decodable as"), "{panic}");
    }
}

#[test]
fn a_mock_names_what_cannot_travel_and_the_line_of_its_script() {
    let panic = panic_of(async {
        let (finder, _guard) =
            MockActor::<Finder>::new().times::<Find>(3, |_| Ok(Found::Text("here".to_owned()))).start();
        assert_eq!(delivery(finder.ask(Find::default()).await), Some(Delivery::NotSent));
        assert_eq!(finder.tell(Find::default()).await.unwrap_err().message, Some(Find::default()));
        assert_eq!(delivery(finder.ask(travelling()).await), Some(Delivery::Delivered));
    });
    let faults: Vec<&str> = panic.lines().skip(1).collect();
    assert_eq!(faults.len(), 3, "{panic}");
    assert!(faults.iter().all(|fault| fault.contains("tests/carry.rs:")), "{panic}");
    assert!(faults[1].contains("a request came that cannot travel: find: not decodable as"), "{panic}");
    assert!(faults[2].contains("cannot travel: the answer to find: not decodable as"), "{panic}");
}
