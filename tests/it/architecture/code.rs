//! What a source file names: every path, resolved to where it leads, and what is asynchronous.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use syn::visit::Visit;

/// A path in the code, from `crate` or from another crate's name on: `["crate", "ticket", "store"]`.
pub(super) type Named = Vec<String>;

/// One source file of the library.
#[derive(Debug)]
pub(super) struct Code {
    /// Relative to `src/`, with slashes.
    pub(super) file: String,
    /// Every path that is named outside tests.
    pub(super) names: Vec<Named>,
    /// What waits: `async` and `.await`, in words.
    pub(super) waits: Vec<String>,
    /// Every string literal outside tests.
    pub(super) texts: Vec<String>,
}

impl Code {
    /// All files of the library in the order of their names; `main.rs` is not of the library.
    pub(super) fn of_library() -> &'static [Self] {
        static ALL: LazyLock<Vec<Code>> = LazyLock::new(Code::read_library);
        &ALL
    }

    fn read_library() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = walkdir::WalkDir::new(&root)
            .sort_by_file_name()
            .into_iter()
            .map(|entry| entry.unwrap().into_path());
        let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
        let all: Vec<Self> = files
            .map(|path| {
                let file = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                Self::read(file, &std::fs::read_to_string(&path).unwrap())
            })
            .filter(|code| code.file != "main.rs")
            .collect();
        assert!(all.len() > 100, "the library was found");
        all
    }

    pub(super) fn read(file: String, text: &str) -> Self {
        let module = module_of(&file);
        let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut reader = Reader {
            module,
            code: Self {
                file,
                names: Vec::new(),
                waits: Vec::new(),
                texts: Vec::new(),
            },
        };
        reader.visit_file(&tree);
        reader.code
    }

    /// The path of its module, from `crate` on.
    pub(super) fn module(&self) -> Named {
        module_of(&self.file)
    }

    /// The room the file belongs to.
    pub(super) fn room(&self) -> &str {
        self.file.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The second step of its path: `sources/airflow.rs` is `airflow`; none for the room's own file.
    pub(super) fn wing(&self) -> Option<&str> {
        let wing = self.file.split('/').nth(1)?.trim_end_matches(".rs");
        (wing != "mod").then_some(wing)
    }

    /// Does it name these steps, one after the other?
    pub(super) fn mentions(&self, steps: &[&str]) -> bool {
        self.names
            .iter()
            .any(|name| name.windows(steps.len()).any(|window| window == steps))
    }
}

fn module_of(file: &str) -> Named {
    let mut module: Named = vec!["crate".to_owned()];
    module.extend(file.trim_end_matches(".rs").split('/').map(str::to_owned));
    if module
        .last()
        .is_some_and(|name| name == "mod" || name == "lib")
    {
        module.pop();
    }
    module
}

/// A path among tokens, however it is spaced.
static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w+(?: ?:: ?\w+)+").unwrap());
static AWAIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\. ?await\b").unwrap());

struct Reader {
    module: Named,
    code: Code,
}

impl Reader {
    fn name(&mut self, mut path: Named) {
        let ups = path.iter().take_while(|step| *step == "super").count();
        let own = path.first().is_some_and(|step| step == "self");
        if ups > 0 || own {
            let keep = self.module.len().saturating_sub(ups);
            path = [
                self.module.get(..keep).unwrap(),
                path.get(ups + usize::from(own)..).unwrap(),
            ]
            .concat();
        }
        self.code.names.push(path);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |step: &syn::Ident| [before, &[step.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.name(with(&name.ident)),
            syn::UseTree::Rename(name) => self.name(with(&name.ident)),
            syn::UseTree::Glob(_) => self.name(before.to_vec()),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.tree(before, item));
            }
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_for_tests(&module.attrs) {
            return;
        }
        self.module.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect(),
        );
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        // Arguments of a macro are only tokens: the paths among them are found by their colons.
        let tokens = item.tokens.to_string();
        for found in PATH.find_iter(&tokens) {
            self.name(
                found
                    .as_str()
                    .split("::")
                    .map(|step| step.trim().to_owned())
                    .collect(),
            );
        }
        if AWAIT.is_match(&tokens) {
            self.code.waits.push("`.await` in a macro".to_owned());
        }
        syn::visit::visit_macro(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() {
            self.code
                .waits
                .push(format!("async fn {}", signature.ident));
        }
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.code.waits.push("`.await`".to_owned());
        syn::visit::visit_expr_await(self, expression);
    }

    fn visit_expr_async(&mut self, expression: &'ast syn::ExprAsync) {
        self.code.waits.push("an async block".to_owned());
        syn::visit::visit_expr_async(self, expression);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.code.texts.push(literal.value());
    }
}
