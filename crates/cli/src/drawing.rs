//! SVG drawing of a relay tree: at the end of a demo, and live at a host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const CELL_WIDTH: usize = 92;
const CELL_HEIGHT: usize = 90;
const BOX_WIDTH: usize = 80;
const BOX_HEIGHT: usize = 26;
const MARGIN: usize = 12;
/// Characters of a label that fit into a box.
const LABEL_CHARS: usize = 9;

/// A peer of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreePeer {
    pub(crate) id: String,
    /// Id of the peer that feeds it; `None` for a peer without a parent.
    pub(crate) parent: Option<String>,
    /// Text in its box, which is cut.
    pub(crate) label: String,
    /// Text that appears under the pointer; empty for none.
    pub(crate) about: String,
}

/// Draws a tree with children below their parent, each subtree as wide as its leaves. A parent without a node of its
/// own, as the mixer of a demo, is a root with its id as label.
pub(crate) fn tree(nodes: &[TreePeer]) -> String {
    let known: BTreeMap<&str, &TreePeer> = nodes.iter().map(|node| (&*node.id, node)).collect();
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut roots: BTreeSet<&str> = BTreeSet::new();
    for node in nodes {
        match &node.parent {
            Some(parent) => {
                children.entry(parent).or_default().push(&node.id);
                if !known.contains_key(&**parent) {
                    roots.insert(parent);
                }
            }
            None => {
                roots.insert(&node.id);
            }
        }
    }
    let mut drawn = Drawn { known, children, body: String::new(), leaves: 0, deepest: 0 };
    for root in roots {
        drawn.draw(root, 0);
    }
    let width = 2 * MARGIN + drawn.leaves.max(1) * CELL_WIDTH;
    let height = 2 * MARGIN + (drawn.deepest + 1) * CELL_HEIGHT;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        drawn.body
    )
}

struct Drawn<'a> {
    known: BTreeMap<&'a str, &'a TreePeer>,
    /// Children of each peer; a peer is taken out when it is drawn, so that reports of a loop end.
    children: BTreeMap<&'a str, Vec<&'a str>>,
    body: String,
    leaves: usize,
    deepest: usize,
}

impl Drawn<'_> {
    /// Draws a peer with its subtree; returns the middle of its box.
    fn draw(&mut self, peer: &str, depth: usize) -> usize {
        self.deepest = self.deepest.max(depth);
        let below = self.children.remove(peer).unwrap_or_default();
        let y = MARGIN + depth * CELL_HEIGHT;
        let x = if below.is_empty() {
            self.leaves += 1;
            MARGIN + (self.leaves - 1) * CELL_WIDTH + CELL_WIDTH / 2
        } else {
            let middles: Vec<usize> = below.iter().map(|child| self.draw(child, depth + 1)).collect();
            let x = middles.iter().sum::<usize>() / middles.len();
            for middle in middles {
                let (from, to) = (y + BOX_HEIGHT, y + CELL_HEIGHT);
                let _ = writeln!(
                    self.body,
                    "<path d=\"M{x} {from} C{x} {to} {middle} {from} {middle} {to}\" fill=\"none\" stroke=\"#888\"/>"
                );
            }
            x
        };
        let node = self.known.get(peer);
        let is_fed = node.is_some_and(|node| node.parent.is_some());
        let fill = if is_fed { "#e8f0ff" } else { "#ffe0c0" };
        let left = x - BOX_WIDTH / 2;
        let label: String = node.map_or(peer, |node| &node.label).chars().take(LABEL_CHARS).collect();
        let about = node.map(|node| &*node.about).filter(|about| !about.is_empty());
        let title = about.map(|about| format!("<title>{}</title>", escaped(about))).unwrap_or_default();
        let _ = writeln!(
            self.body,
            "<g>{title}<rect x=\"{left}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"5\" \
             fill=\"{fill}\" stroke=\"#444\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
            y + 17,
            escaped(&label)
        );
        x
    }
}

/// Returns a text as XML and HTML have it: names are other peers' choice.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            char if char.is_control() => escaped.push(' '),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, parent: Option<&str>) -> TreePeer {
        let label = id.to_owned();
        TreePeer { id: id.to_owned(), parent: parent.map(str::to_owned), label, about: String::new() }
    }

    #[test]
    fn everyone_is_drawn_once_with_a_line_to_its_parent() {
        let svg = tree(&[
            node("aaaaaaaaaaaa", Some("mixer")),
            node("bbbbbbbbbbbb", Some("aaaaaaaaaaaa")),
            node("cccccccccccc", Some("aaaaaaaaaaaa")),
            node("dddddddddddd", None),
        ]);
        assert_eq!((svg.matches("<text").count(), svg.matches("<path").count()), (5, 3));
        assert!(svg.contains(">aaaaaaaaa<") && svg.contains(">mixer<"));
    }

    #[test]
    fn an_empty_tree_is_a_picture_too_and_a_reported_loop_ends() {
        assert!(tree(&[]).starts_with("<svg"));
        let svg = tree(&[node("a", Some("b")), node("b", Some("a")), node("c", Some("c")), node("d", None)]);
        assert_eq!(svg.matches("<text").count(), 1);
    }

    #[test]
    fn names_are_text_whatever_they_contain() {
        let hostile = TreePeer {
            label: "<script>".to_owned(),
            about: "\"><img src=x onerror='y'>&\u{7}".to_owned(),
            ..node("a", None)
        };
        let svg = tree(&[hostile]);
        assert!(!svg.contains("<script") && !svg.contains("<img") && !svg.contains('\u{7}'), "{svg}");
        assert!(
            svg.contains("&lt;script&gt;")
                && svg.contains("&quot;&gt;&lt;img src=x onerror=&#39;y&#39;&gt;&amp;")
        );
    }
}
