use serde_json::{Value, json};

use crate::testing::{World, merge, patch, text};

fn create(world: &mut World, api: &str, parent: &str, part: &str) -> String {
    text(&world.ok("CreateResource", json!({"restApiId": api, "parentId": parent, "pathPart": part})), "id")
}

#[test]
fn children_have_short_ids_and_whole_paths() {
    let mut world = World::new();
    let (api, root) = world.api();
    let pets = world.ok("CreateResource", json!({"restApiId": api, "parentId": root, "pathPart": "pets"}));
    let id = text(&pets, "id");
    assert_eq!(id.len(), 6);
    assert_eq!(pets, json!({"id": id, "parentId": root, "pathPart": "pets", "path": "/pets"}));
    let pet = world.ok("CreateResource", json!({"restApiId": api, "parentId": id, "pathPart": "{petId}"}));
    assert_eq!(pet["path"], "/pets/{petId}");
    assert_eq!(world.ok("GetResource", json!({"restApiId": api, "resourceId": id})), pets);
}

#[test]
fn methods_are_named_and_shown_whole_only_when_asked_for() {
    let mut world = World::new();
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    let own = json!({"restApiId": api, "resourceId": root});
    let brief = world.ok("GetResource", own.clone());
    assert_eq!(brief, json!({"id": root, "path": "/", "resourceMethods": {"GET": {}}}));
    assert_eq!(world.ok("GetResources", json!({"restApiId": api})), json!({"items": [brief]}));
    let whole = world.ok("GetMethod", merge(&own, json!({"httpMethod": "GET"})));
    let embedded = world.ok("GetResource", merge(&own, json!({"embed": ["methods"]})));
    assert_eq!(embedded["resourceMethods"]["GET"], whole);
    let listed = world.ok("GetResources", json!({"restApiId": api, "embed": ["methods"]}));
    assert_eq!(listed["items"][0]["resourceMethods"]["GET"], whole);
    world.refuses(
        "GetResource",
        merge(&own, json!({"embed": ["x"]})),
        "BadRequest 400 Invalid embed value specified: x",
    );
}

#[test]
fn places_that_cannot_be_taken_are_refused() {
    let mut world = World::new();
    let (api, root) = world.api();
    create(&mut world, &api, &root, "pets");
    let greedy = create(&mut world, &api, &root, "{proxy+}");
    let part_rule = "BadRequest 400 Resource's path part only allow a-zA-Z0-9._- and curly braces at the beginning \
     and the end and an optional plus sign before the closing brace.";
    let sibling =
        "BadRequest 400 A sibling ({proxy+}) of this resource already has a variable path part -- only one is allowed";
    let greedy_parent = "BadRequest 400 Cannot create a child of a resource with a greedy path variable: {proxy+}";
    let taken = "Conflict 409 Another resource with the same parent already has this name: pets";
    for (parent, part, expected) in [
        (root.as_str(), "pets", taken),
        (&root, "{id}", sibling),
        (&greedy, "x", greedy_parent),
        (&root, "", part_rule),
        (&root, "a/b", part_rule),
        (&root, "{}", part_rule),
        (&root, "{+}", part_rule),
        (&root, "{a", part_rule),
        (&root, "a+", part_rule),
        (&root, "a{b}", part_rule),
        (&root, "é", part_rule),
        ("nosuch", "x", "NotFound 404 Invalid Resource identifier specified"),
    ] {
        world.refuses("CreateResource", json!({"restApiId": api, "parentId": parent, "pathPart": part}), expected);
    }
    for part in ["a.b_c-d", "a:b,c", "x"] {
        create(&mut world, &api, &root, part);
    }
}

#[test]
fn an_api_has_300_resources_at_most() {
    let mut world = World::new();
    let (api, root) = world.api();
    for n in 1..300 {
        create(&mut world, &api, &root, &format!("r{n}"));
    }
    let expected = "LimitExceeded 429 Maximum number of resources for this API has been reached. Please contact AWS \
     if you need additional resources.";
    world.refuses("CreateResource", json!({"restApiId": api, "parentId": root, "pathPart": "x"}), expected);
    assert_eq!(
        world.ok("GetResources", json!({"restApiId": api, "limit": 500}))["items"].as_array().map(Vec::len),
        Some(300)
    );
}

#[test]
fn deleting_takes_the_subtree_with_its_methods() {
    let mut world = World::new();
    let (api, root) = world.api();
    let a = create(&mut world, &api, &root, "a");
    let b = create(&mut world, &api, &a, "b");
    let other = create(&mut world, &api, &root, "ab");
    for resource in [&a, &b, &other] {
        world.mock(&api, resource, "GET");
    }
    assert_eq!(world.ok("DeleteResource", json!({"restApiId": api, "resourceId": a})), json!({}));
    for gone in [&a, &b] {
        let own = json!({"restApiId": api, "resourceId": gone});
        world.refuses("GetResource", own, "NotFound 404 Invalid Resource identifier specified");
        assert!(!world.keys().iter().any(|key| key.contains(gone.as_str())));
    }
    world.ok("GetMethod", json!({"restApiId": api, "resourceId": other, "httpMethod": "GET"}));
    let own = json!({"restApiId": api, "resourceId": root});
    world.refuses("DeleteResource", own, "BadRequest 400 Root resource cannot be deleted.");
}

#[test]
fn moving_and_renaming_recomputes_every_path_below() {
    let mut world = World::new();
    let (api, root) = world.api();
    let a = create(&mut world, &api, &root, "a");
    let b = create(&mut world, &api, &a, "b");
    let c = create(&mut world, &api, &b, "c");
    let d = create(&mut world, &api, &root, "d");
    let update = |world: &mut World, id: &str, path: &str, value: &str| {
        world.ok(
            "UpdateResource",
            merge(&json!({"restApiId": api, "resourceId": id}), patch("replace", path, Some(value))),
        )
    };
    let path = |world: &mut World, id: &str| -> Value {
        world.ok("GetResource", json!({"restApiId": api, "resourceId": id}))["path"].clone()
    };
    assert_eq!(update(&mut world, &b, "/parentId", &d)["path"], "/d/b");
    assert_eq!(path(&mut world, &c), "/d/b/c");
    assert_eq!(update(&mut world, &d, "/pathPart", "{x}")["pathPart"], "{x}");
    assert_eq!(path(&mut world, &c), "/{x}/b/c");
    assert_eq!(update(&mut world, &b, "/parentId", &root)["path"], "/b");
    assert_eq!(path(&mut world, &c), "/b/c");
    assert_eq!(path(&mut world, &a), "/a");
}

#[test]
fn bad_moves_are_refused() {
    let mut world = World::new();
    let (api, root) = world.api();
    let a = create(&mut world, &api, &root, "a");
    let b = create(&mut world, &api, &a, "b");
    create(&mut world, &api, &root, "b");
    let paths = "Must be one of: [/parentId, /pathPart]";
    for (id, op, path, value, expected) in [
        (&a, "replace", "/parentId", &b, "BadRequest 400 Resources cannot be cyclical.".to_owned()),
        (&a, "replace", "/parentId", &a, "BadRequest 400 Resources cannot be cyclical.".to_owned()),
        (&root, "replace", "/parentId", &a, "BadRequest 400 Root resource cannot update its parentId.".to_owned()),
        (&root, "replace", "/pathPart", &a, "BadRequest 400 Root resource cannot update its pathPart.".to_owned()),
        (
            &b,
            "replace",
            "/parentId",
            &root,
            "Conflict 409 Another resource with the same parent already has this name: b".to_owned(),
        ),
        (
            &b,
            "replace",
            "/parentId",
            &"nosuch".to_owned(),
            "NotFound 404 Invalid Resource identifier specified".to_owned(),
        ),
        (
            &a,
            "replace",
            "/x",
            &b,
            format!("BadRequest 400 Invalid patch path  '/x' specified for op 'replace'. {paths}"),
        ),
        (
            &a,
            "add",
            "/pathPart",
            &b,
            "BadRequest 400 Invalid patch path  '/pathPart' specified for op 'add'. Please choose supported operations"
                .to_owned(),
        ),
    ] {
        let own = json!({"restApiId": api, "resourceId": id});
        world.refuses("UpdateResource", merge(&own, patch(op, path, Some(value))), &expected);
    }
    let own = json!({"restApiId": api, "resourceId": a});
    let (code, ..) = world.refused("UpdateResource", merge(&own, patch("replace", "/pathPart", Some("{a+}"))));
    assert_eq!(code, "BadRequest", "a greedy variable has no children");
    assert_eq!(world.ok("GetResource", json!({"restApiId": api, "resourceId": b}))["path"], "/a/b");
}
