use super::*;
use crate::workers::{BESIDE, HERE_BYTES_MAX};

/// Room for `count` pieces of 100 bytes.
fn room_for(count: usize) -> Contents {
    Contents::new(count * (100 + ENTRY_BYTES))
}

fn content(of: u8) -> Blob {
    vec![of; 100].into()
}

fn insert(contents: &Contents, of: u8) -> ContentHash {
    contents.insert(content(of)).unwrap()
}

fn kept(contents: &Contents) -> Vec<u8> {
    contents.lock().kept()
}

/// A form that takes as many bytes as the first byte says, times ten.
#[derive(Debug, PartialEq)]
struct Form(u8);

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("no form")]
struct NoForm;

impl Decoded for Form {
    type Error = NoForm;

    fn decode(bytes: &[u8]) -> Result<Self, NoForm> {
        bytes.first().filter(|first| **first < 100).map(|first| Self(*first)).ok_or(NoForm)
    }

    fn bytes(&self) -> usize {
        usize::from(self.0) * 10
    }
}

#[test]
fn the_least_recently_used_makes_room() {
    let contents = room_for(3);
    let hashes: Vec<ContentHash> = (1..=3).map(|of| insert(&contents, of)).collect();
    assert!(contents.get(&hashes[0]).is_some());
    insert(&contents, 2);
    insert(&contents, 4);
    assert_eq!(kept(&contents), [2, 3, 4], "1 was used before");
    assert_eq!(contents.missing(&[hashes[2], hashes[0], hashes[0]]), [hashes[0]], "that is a use of 3");
    insert(&contents, 5);
    insert(&contents, 6);
    assert_eq!(kept(&contents), [3, 5, 6]);
}

#[test]
fn what_is_held_stays_and_what_cannot_fit_evicts_nothing() {
    let contents = room_for(2);
    let one = contents.get(&insert(&contents, 1)).unwrap();
    insert(&contents, 2);
    insert(&contents, 3);
    assert_eq!(kept(&contents), [1, 3]);
    let full = Err(StoreError::Full { bytes_max: 712 });
    assert_eq!(contents.insert(vec![4; 101 + ENTRY_BYTES].into()), full, "1 is held");
    assert_eq!(contents.insert(vec![4; 1_000].into()), Err(StoreError::TooLong { bytes_max: 712 }));
    assert_eq!(kept(&contents), [1, 3]);
    assert_eq!(*one.bytes(), content(1));
    drop(one);
    contents.insert(vec![4; 200 + ENTRY_BYTES].into()).unwrap();
    assert_eq!(kept(&contents), [4]);
}

#[test]
fn who_uploads_more_than_others_makes_room_for_them() {
    let contents = room_for(4);
    let insert = |client: &str, of: u8| {
        contents.insert_of(client, content(of)).unwrap();
    };
    (1..=2).for_each(|of| insert("a", of));
    (11..=14).for_each(|of| insert("b", of));
    assert_eq!(kept(&contents), [1, 2, 13, 14], "a has no more than b");
    insert("c", 21);
    insert("c", 22);
    assert_eq!(kept(&contents), [1, 2, 14, 22], "none makes room for one who has as much");
}

#[test]
fn what_is_held_is_not_what_its_client_makes_room_with() {
    let contents = room_for(4);
    let insert = |client: &str, of: u8| contents.insert_of(client, content(of)).unwrap();
    let held = [1, 2].map(|of| contents.get(&insert("a", of)).unwrap());
    insert("a", 3);
    for of in 11..=13 {
        insert("b", of);
    }
    assert_eq!(kept(&contents), [1, 2, 3, 13]);
    assert_eq!(contents.bytes_max_and_held(), (4 * 356, 2 * 356));
    let again = held[0].clone();
    drop(held);
    assert_eq!(contents.bytes_max_and_held().1, 356);
    drop(again);
    assert_eq!(contents.bytes_max_and_held().1, 0);
    insert("b", 14);
    assert_eq!(kept(&contents), [2, 3, 13, 14]);
}

#[test]
fn all_of_several_or_the_names_of_what_is_missing() {
    let contents = room_for(3);
    let [a, b] = [insert(&contents, 1), insert(&contents, 2)];
    let [c, d] = [[1], [2]].map(|of| ContentHash::of(&of));
    let held = contents.all([b, a, b]).unwrap();
    assert_eq!(held.iter().map(Held::hash).collect::<Vec<_>>(), [b, a, b]);
    assert_eq!(contents.all([c, a, d, c]).unwrap_err(), BTreeSet::from([c, d]));
}

#[test]
fn a_form_is_decoded_once_and_counts_as_long_as_it_is_kept() {
    let contents = room_for(3);
    let one = contents.get(&insert(&contents, 10)).unwrap();
    let form = one.decoded::<Form>().unwrap();
    assert!(Arc::ptr_eq(&form, &one.decoded::<Form>().unwrap()));
    assert_eq!(contents.lock().bytes(), 356 + 100);
    // What is used is held, whichever form it is used in.
    drop(one);
    insert(&contents, 2);
    insert(&contents, 3);
    assert_eq!(kept(&contents), [3, 10], "the form left room for one more");
    drop(form);
    insert(&contents, 4);
    assert_eq!(kept(&contents), [3, 4], "it went with its form");
}

#[test]
fn a_form_for_which_there_is_no_room_is_used_and_not_kept() {
    let contents = room_for(1);
    let held = contents.get(&insert(&contents, 99)).unwrap();
    assert_eq!(held.decoded::<Form>().as_deref(), Ok(&Form(99)));
    assert_eq!(contents.lock().bytes(), 356);
    assert_eq!(kept(&contents), [99]);
    let odd = Contents::new(1_000);
    let held = odd.get(&insert(&odd, 200)).unwrap();
    assert_eq!(held.decoded::<Form>(), Err(NoForm));
}

#[actix::test]
async fn other_nodes_store_and_learn_what_is_missing() {
    let contents = room_for(2);
    let mailbox = ContentStore::new(contents.clone()).mailbox();
    let [one, two] = [1, 2].map(|of| ContentHash::of(&content(of)));
    assert_eq!(mailbox.ask(StoreContent { content: content(1) }).await, Ok(one));
    assert_eq!(mailbox.ask(MissingContent { hashes: vec![two, one, two] }).await, Ok(vec![two]));
    assert_eq!(kept(&contents), [1]);
    let large = mailbox.ask(StoreContent { content: vec![0; 713].into() }).await;
    assert_eq!(large, Err(crate::AskError::Handler(StoreError::TooLong { bytes_max: 712 })));
}

#[actix::test]
async fn s17_long_content_is_hashed_beside_the_arbiter() {
    let store = ContentStore::new(Contents::new(64 << 20)).mailbox();
    for (bytes, beside) in [(HERE_BYTES_MAX, 0), (HERE_BYTES_MAX + 1, 1)] {
        let content: Blob = vec![7; bytes].into();
        let before = BESIDE.get();
        let stored = store.ask(StoreContent { content: content.clone() }).await;
        assert_eq!(stored, Ok(ContentHash::of(&content)));
        assert_eq!(BESIDE.get() - before, beside, "{bytes} bytes");
    }
}
