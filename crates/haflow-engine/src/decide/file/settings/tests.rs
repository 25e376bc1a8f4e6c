//! What the edit of settings makes of texts, and what it refuses.

use super::*;
use serde_json::json;

fn made(given: Value, old: &str) -> String {
    let Value::Object(given) = given else { panic!("it is a map") };
    let params: Vec<_> = given.into_iter().collect();
    let once = edit(&Params(&params), Some(old.as_bytes())).expect("it can be edited").expect("there is a file");
    let twice = edit(&Params(&params), Some(&once)).expect("it can be edited").expect("there is a file");
    assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice), "{params:?} twice");
    String::from_utf8(once).expect("UTF-8")
}

fn one(section: &str, key: &str, value: &Value, old: &str) -> String {
    made(json!({"section": section, "key": key, "value": value}), old)
}

/// Samba's keys.
#[test]
fn a_key_with_a_colon_is_one_setting() {
    let smb = "[global]\n   workgroup = X\n   fruit:metadata = netatalk\n   idmap config * : backend = ad\n";
    let new = one("global", "fruit:metadata", &json!("stream"), smb);
    assert_eq!(new, smb.replace("netatalk", "stream"));
    let new = one("global", "idmap config * : backend", &json!("tdb"), smb);
    assert_eq!(new, smb.replace("= ad", "= tdb"));
    let new = one("global", "fruit:time", &json!("yes"), smb);
    assert_eq!(new, format!("{smb}   fruit:time = yes\n"));
    assert_eq!(one("global", "fruit", &json!(null), smb), smb, "it is another setting");
    // Where a colon ends keys, and where one is in a value.
    assert_eq!(one("", "a", &json!("2"), "a: http://b?c=d\n"), "a: 2\n");
    assert_eq!(one("", "a", &json!("2"), "b = 1\na: http://b?c=d\n"), "b = 1\na: 2\n");
    assert_eq!(one("", "url", &json!("x:y"), "url = rabbit://a:b@c\n"), "url = x:y\n");
}

#[test]
fn only_the_own_lines_of_a_setting_change() {
    for (section, key, value, old, new) in [
        ("s", "k", json!("w"), "[s]\nk=v\n", "[s]\nk=w\n"),
        ("s", "k", json!("w"), "[s]\n k = v\n  more\n# c\n  still\nx = 1", "[s]\n k = w\n# c\nx = 1"),
        ("s", "k", json!(["a", "b"]), "[s]\nk=a\n\n[t]\nk=a\n", "[s]\nk=a\nk=b\n\n[t]\nk=a\n"),
        ("s", "k", json!(["a"]), "[s]\nk=b\nx=1\nk=a\n", "[s]\nk=a\nx=1\n"),
        ("s", "k", json!(null), "[s]\nk=b\nx=1\nk=a\n", "[s]\nx=1\n"),
        ("s", "k", json!(true), "[s]\n# k = false\nx = 1\n", "[s]\n# k = false\nk = true\nx = 1\n"),
        ("s", "k", json!(1), "[s]\n", "[s]\nk = 1\n"),
        ("t", "k", json!(1), "[s]\na=b", "[s]\na=b\n\n[t]\nk=1\n"),
        ("", "k", json!(1), "[s]\r\na=b\r\n", "k=1\r\n\r\n[s]\r\na=b\r\n"),
        ("s", "k", json!(""), "[s]\nk = v\n", "[s]\nk =\n"),
        ("s", "k", json!("v"), "[s]\nk =\n", "[s]\nk = v\n"),
        ("s", "k", json!(1), "#a =  b\n[s]\n", "#a =  b\n[s]\nk = 1\n"),
        ("s", "k", json!(1), "[s]\n  a = b\n", "[s]\n  a = b\n  k = 1\n"),
        ("s", "k", json!(1), "[s]\nk\n", "[s]\nk = 1\n"),
        ("", "k", json!(1), "", "k = 1\n"),
    ] {
        assert_eq!(one(section, key, &value, old), new, "{section} {key} {value} {old:?}");
    }
    let both = json!({"settings": {"a": {"x": 1, "y": null}, "b": {"z": [1, 2]}}});
    assert_eq!(made(both, "[a]\ny=1\n"), "[a]\nx=1\n\n[b]\nz=1\nz=2\n");
}

#[test]
fn a_value_that_spans_lines_is_refused() {
    let params = [("key".to_owned(), json!("k")), ("value".to_owned(), json!("a\nb"))];
    assert!(edit(&Params(&params), Some(b"")).unwrap_err().contains("spans lines"));
}

#[test]
fn lines_that_are_not_utf_8_stay() {
    let params = [("section", json!("s")), ("key", json!("k")), ("value", json!("w"))];
    let params: Vec<_> = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let new = edit(&Params(&params), Some(b"# M\xfcller\n[s]\n k = \xe9\nx=\xff\n"));
    assert_eq!(new, Ok(Some(b"# M\xfcller\n[s]\n k = w\nx=\xff\n".to_vec())));
}

/// Of what is further in behind a blank line, programs differ on whether it is more of the value.
#[test]
fn what_may_be_more_of_a_value_is_not_left_behind() {
    let refused = |key: &str, value: Value, old: &str| {
        let params = [("section", json!("s")), ("key", json!(key)), ("value", value)];
        let params: Vec<_> = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        edit(&Params(&params), Some(old.as_bytes())).unwrap_err()
    };
    let list = "[s]\nhosts =\n  a\n\n  b\n\n  # c\n  d = 1\nx = 1\n";
    for value in [json!("n"), json!(null), json!(["", ""])] {
        let why = refused("hosts", value, list);
        assert!(why.starts_with("after `hosts` come a blank line and `b`, which is further in"), "{why}");
    }
    assert!(refused("k", json!("v"), "[s]\nk = v\n\n  more\n").contains("`more`"), "that isn't the value");
    assert!(refused("k", json!("w"), "[s]\nk = v\n\n  x = 1\n").contains("`x = 1`"));
    // It holds as others read it, and another setting is touched.
    let settings = "[s]\nk = v\n\n  x = 1\n  y = 2\n";
    assert_eq!(one("s", "k", &json!("v"), settings), settings);
    assert_eq!(one("s", "y", &json!("3"), settings), settings.replace('2', "3"));
    assert_eq!(one("s", "new", &json!("1"), settings), format!("{settings}new = 1\n"));
    assert_eq!(one("s", "new", &json!("1"), list), format!("{list}new = 1\n"));
    assert_eq!(one("s", "x", &json!("2"), list), list.replace("x = 1", "x = 2"));
    // All as far in as each other.
    assert_eq!(one("s", "k", &json!("w"), "[s]\n  k = v\n\n  x = 1\n"), "[s]\n  k = w\n\n  x = 1\n");
}
