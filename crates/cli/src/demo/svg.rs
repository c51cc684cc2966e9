//! SVG drawing of the relay tree at the end of a demo.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const CELL_WIDTH: usize = 92;
const CELL_HEIGHT: usize = 90;
const BOX_WIDTH: usize = 80;
const BOX_HEIGHT: usize = 26;
const MARGIN: usize = 12;

/// Draws a tree with children below their parent, each subtree as wide as its leaves. `edges` are viewers and
/// their parents.
pub(crate) fn tree(edges: &[(String, Option<String>)]) -> String {
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let viewers: BTreeSet<&str> = edges.iter().map(|(viewer, _)| &**viewer).collect();
    let mut roots: BTreeSet<&str> = BTreeSet::new();
    for (viewer, parent) in edges {
        match parent {
            Some(parent) => {
                children.entry(parent).or_default().push(viewer);
                if !viewers.contains(&**parent) {
                    roots.insert(parent);
                }
            }
            None => {
                roots.insert(viewer);
            }
        }
    }
    let mut drawn = Drawn { children: &children, body: String::new(), leaves: 0, deepest: 0 };
    for root in roots {
        drawn.draw(root, 0, viewers.contains(root));
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
    children: &'a BTreeMap<&'a str, Vec<&'a str>>,
    body: String,
    leaves: usize,
    deepest: usize,
}

impl Drawn<'_> {
    /// Draws a peer with its subtree; returns the middle of its box.
    fn draw(&mut self, peer: &str, depth: usize, viewer: bool) -> usize {
        self.deepest = self.deepest.max(depth);
        let below = self.children.get(peer).cloned().unwrap_or_default();
        let y = MARGIN + depth * CELL_HEIGHT;
        let x = if below.is_empty() {
            self.leaves += 1;
            MARGIN + (self.leaves - 1) * CELL_WIDTH + CELL_WIDTH / 2
        } else {
            let middles: Vec<usize> = below.iter().map(|child| self.draw(child, depth + 1, true)).collect();
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
        let fill = if viewer { "#e8f0ff" } else { "#ffe0c0" };
        let left = x - BOX_WIDTH / 2;
        let text = &peer[..peer.len().min(8)];
        let _ = writeln!(
            self.body,
            "<rect x=\"{left}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"5\" fill=\"{fill}\" \
             stroke=\"#444\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            y + 17
        );
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_is_drawn_once_with_a_line_to_its_parent() {
        let edge = |viewer: &str, parent: Option<&str>| (viewer.to_owned(), parent.map(str::to_owned));
        let svg = tree(&[
            edge("aaaaaaaaaa", Some("mixer")),
            edge("bbbbbbbbbb", Some("aaaaaaaaaa")),
            edge("cccccccccc", Some("aaaaaaaaaa")),
            edge("dddddddddd", None),
        ]);
        assert_eq!((svg.matches("<text").count(), svg.matches("<path").count()), (5, 3));
        assert!(svg.contains(">aaaaaaaa<") && svg.contains(">mixer<"));
    }

    #[test]
    fn an_empty_tree_is_a_picture_too() {
        assert!(tree(&[]).starts_with("<svg"));
    }
}
