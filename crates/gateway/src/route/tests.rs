use std::ops::Range;

use proptest::prelude::*;

use super::{Tree, VERBS};

/// A tree of `VERB /path` methods; the place of a method is its place in the list.
fn tree(methods: &[&str]) -> Tree {
    let mut tree = Tree::new();
    let mut known: Vec<(String, usize)> = vec![(String::new(), Tree::ROOT)];
    for (place, method) in methods.iter().enumerate() {
        let (verb, path) = method.split_once(' ').unwrap();
        let (mut node, mut so_far) = (Tree::ROOT, String::new());
        for part in path.split('/').filter(|part| !part.is_empty()) {
            so_far = format!("{so_far}/{part}");
            node = match known.iter().find(|(path, _)| *path == so_far) {
                Some(&(_, node)) => node,
                None => {
                    let child = tree.add(node, part).expect("one child of a kind");
                    known.push((so_far.clone(), child));
                    child
                }
            };
        }
        tree.attach(node, verb, place);
    }
    tree
}

fn find(tree: &Tree, verb: &str, path: &str) -> Option<(usize, Vec<(String, String)>)> {
    let mut parameters: Vec<(usize, Range<usize>)> = Vec::new();
    let method = tree.find(path, verb, &mut parameters)?;
    let named = |(node, place): (usize, Range<usize>)| (tree.name(node).to_owned(), path[place].to_owned());
    Some((method, parameters.into_iter().map(named).collect()))
}

#[test]
fn the_most_specific_pair_wins_and_resources_without_the_verb_are_passed_over() {
    let methods = [
        "GET /",
        "GET /pets",
        "GET /pets/{id}",
        "POST /pets/{id}",
        "ANY /pets/{proxy+}",
        "GET /pets/special",
        "GET /{any}/toys",
        "DELETE /{rest+}",
        "ANY /both",
        "GET /both",
        "GET /pets/{id}/toys/{toy}",
    ];
    let tree = tree(&methods);
    for (asked, expected, parameters) in [
        ("GET ", Some("GET /"), ""),
        ("GET pets", Some("GET /pets"), ""),
        ("GET pets/1", Some("GET /pets/{id}"), "id=1"),
        ("GET pets/special", Some("GET /pets/special"), ""),
        ("POST pets/special", Some("POST /pets/{id}"), "id=special"),
        ("PUT pets/special", Some("ANY /pets/{proxy+}"), "proxy=special"),
        ("GET pets/1/2", Some("ANY /pets/{proxy+}"), "proxy=1/2"),
        ("GET pets/toys", Some("GET /pets/{id}"), "id=toys"),
        ("GET cats/toys", Some("GET /{any}/toys"), "any=cats"),
        ("GET pets/1/toys/2", Some("GET /pets/{id}/toys/{toy}"), "id=1,toy=2"),
        ("POST pets/1/toys/2", Some("ANY /pets/{proxy+}"), "proxy=1/toys/2"),
        ("DELETE pets", Some("DELETE /{rest+}"), "rest=pets"),
        ("DELETE ", None, ""),
        ("PUT pets", None, ""),
        ("HEAD pets", None, ""),
        ("GET both", Some("GET /both"), ""),
        ("PUT both", Some("ANY /both"), ""),
        ("GET pets//x", Some("ANY /pets/{proxy+}"), "proxy=/x"),
        ("GET pets%2F1", None, ""),
        ("GET Pets", None, ""),
    ] {
        let (verb, path) = asked.split_once(' ').unwrap();
        let found = find(&tree, verb, path);
        let named = found.as_ref().map(|(method, _)| methods[*method]);
        assert_eq!(named, expected, "{asked}");
        let seen: Vec<String> =
            found.into_iter().flat_map(|(_, named)| named).map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(seen.join(","), parameters, "{asked}");
    }
}

#[test]
fn a_second_child_of_a_kind_has_no_place() {
    let mut tree = Tree::new();
    assert!(tree.add(Tree::ROOT, "{a}").is_some());
    assert!(tree.add(Tree::ROOT, "{a+}").is_some());
    assert!(tree.add(Tree::ROOT, "a").is_some());
    for part in ["{b}", "{b+}", "a"] {
        assert!(tree.add(Tree::ROOT, part).is_none(), "{part}");
    }
    assert!(tree.add(99, "x").is_none());
}

/// How specific a resource is, segment by segment: literal, variable, greedy.
fn rank(resource: &[String]) -> Vec<u8> {
    resource.iter().map(|part| if part.ends_with("+}") { 2 } else { u8::from(part.starts_with('{')) }).collect()
}

fn fits(resource: &[String], path: &[&str]) -> bool {
    match (resource.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((part, _)), Some(_)) if part.ends_with("+}") => !path.join("/").is_empty(),
        (Some((part, resource)), Some((segment, path))) => {
            let here = if part.starts_with('{') { !segment.is_empty() } else { part == segment };
            here && fits(resource, path)
        }
        _ => false,
    }
}

/// The rule told by listing: of all resources that fit and have the verb or ANY, the most specific one.
fn by_listing(resources: &[(Vec<String>, String)], verb: &str, path: &[&str]) -> Option<usize> {
    let fitting = |place: &usize| fits(&resources[*place].0, path);
    let exact = |place: usize| resources[place].1 == verb;
    (0..resources.len())
        .filter(fitting)
        .filter(|&place| exact(place) || resources[place].1 == "ANY")
        .min_by_key(|&place| (rank(&resources[place].0), !exact(place)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_tree_agrees_with_a_list_of_all_pairs(
        wanted in prop::collection::vec((prop::collection::vec(0_usize..4, 0..4), 0_usize..4), 1..12),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 0..5),
        verb in prop::sample::select(VERBS.to_vec()),
    ) {
        let parts = ["a", "b", "{v}", "{g+}"];
        let verbs = ["GET", "POST", "ANY", "HEAD"];
        let mut resources: Vec<(Vec<String>, String)> = Vec::new();
        for (segments, verb) in wanted {
            let mut resource: Vec<String> = segments.iter().map(|&part| parts[part].to_owned()).collect();
            // Nothing can hang below a greedy resource.
            if let Some(end) = resource.iter().position(|part| part.ends_with("+}")) {
                resource.truncate(end + 1);
            }
            let method = (resource, verbs[verb].to_owned());
            if !resources.contains(&method) {
                resources.push(method);
            }
        }
        let written: Vec<String> =
            resources.iter().map(|(resource, verb)| format!("{verb} /{}", resource.join("/"))).collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        let joined = path.join("/");
        // As in a request: the path below the stage without leading and trailing slash; empty means the root.
        let trimmed = joined.trim_start_matches('/');
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segments: Vec<&str> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
        let found = find(&tree(&written), verb, trimmed).map(|(method, _)| method);
        prop_assert_eq!(found, by_listing(&resources, verb, &segments), "{:?} {} {}", written, verb, trimmed);
    }
}
