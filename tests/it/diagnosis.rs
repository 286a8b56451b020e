//! The diagnosis engine from outside.

use aiops_rca::diagnosis::Catalog;

#[test]
fn the_catalog_is_whole() {
    let catalog = Catalog::get();
    assert_eq!(catalog.problems(), &[] as &[String]);
    assert!(catalog.len() > 600, "{}", catalog.len());
}
