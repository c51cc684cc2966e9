//! Plots of the measurements, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::Measured;

/// File names of the plots, with their captions.
pub(crate) const FILES: [(&str, &str); 5] = [
    ("repair.svg", "Viewers fed again by a time after a failure"),
    ("joins.svg", "Viewers with a first picture by a time after joining"),
    ("depth.svg", "Depth of the tree by peers"),
    ("bytes.svg", "Bytes per peer by peers"),
    ("churn.svg", "Delivery under churn"),
];
const SIZE: (u32, u32) = (720, 420);
const FONT: (&str, u32) = ("sans-serif", 16);
/// Number of steps of a distribution: one per percent.
const STEPS: usize = 100;

type Drawn = Result<(), Box<dyn Error>>;
/// A line with its name.
type Line = (String, Vec<(f64, f64)>);

/// Writes all plots.
pub(crate) fn write(
    folder: &Path,
    all: &[Measured],
    sizes: &[&Measured],
    churned: &[(u64, Measured)],
) -> Drawn {
    let of = |names: &[&str], times: fn(&Measured) -> &Vec<u64>| -> Vec<Line> {
        let named = all.iter().filter(|one| names.contains(&&*one.report.scenario));
        named.map(|one| (one.report.scenario.clone(), distribution(times(one)))).collect()
    };
    let failures = ["parent-killed", "top-killed", "mixer-lost", "peer-tree-recover"];
    let repairs = of(&failures, |one| &one.samples.repairs_us);
    let joins = of(&["flash-5k", "churn-500", "mixed-uplinks"], |one| &one.samples.joins_us);
    let by_size = |value: fn(&Measured) -> Option<f64>| -> Vec<(f64, f64)> {
        sizes.iter().filter_map(|one| Some((one.report.peers as f64, value(one)?))).collect()
    };
    let deepest = by_size(|one| one.report.depth.max.map(|depth| depth as f64));
    // equal peers: log_k n, rounded up, plus one
    let bound = sizes.iter().map(|one| one.report.peers as f64).map(|n| (n, n.log(4.0).ceil() + 1.0));
    let depths = vec![
        ("the deepest".to_owned(), deepest),
        ("on average".to_owned(), by_size(|one| one.report.depth.mean)),
        ("⌈log₄ n⌉ + 1".to_owned(), bound.collect()),
    ];
    let bytes = by_size(|one| one.report.bytes_per_peer.map(|bytes| bytes as f64 / 1000.0));
    let under_churn = |value: fn(&Measured) -> Option<f64>| -> Vec<(f64, f64)> {
        churned.iter().filter_map(|(percent, one)| Some((*percent as f64, 100.0 * value(one)?))).collect()
    };
    let churn = vec![
        ("frames within 600 ms".to_owned(), under_churn(|one| one.report.delivery.frames_within_600ms)),
        (
            "viewers without a gap of 500 ms".to_owned(),
            under_churn(|one| one.report.delivery.viewers_without_gap_500ms),
        ),
    ];
    let share = "% of viewers";
    draw(folder, 0, ["ms", share], false, &repairs)?;
    draw(folder, 1, ["ms", share], false, &joins)?;
    draw(folder, 2, ["peers", "hops from the mixer"], true, &depths)?;
    draw(folder, 3, ["peers", "kB"], true, &[("kB per peer".to_owned(), bytes)])?;
    draw(folder, 4, ["% of viewers that go, a minute", "%"], false, &churn)
}

/// Cumulative distribution: points of milliseconds and percent.
fn distribution(us: &[u64]) -> Vec<(f64, f64)> {
    let mut sorted = us.to_vec();
    sorted.sort_unstable();
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    let at = |step: usize| (sorted[last * step / STEPS] as f64 / 1000.0, step as f64 * 100.0 / STEPS as f64);
    (0..=STEPS).map(at).collect()
}

fn draw(folder: &Path, file: usize, axes: [&str; 2], log: bool, lines: &[Line]) -> Drawn {
    let (name, title) = FILES[file];
    let path = folder.join(name);
    let root = SVGBackend::new(&path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || lines.iter().flat_map(|(_, points)| points);
    let x = points().map(|point| point.0).fold(1.0, f64::max);
    let x_least = points().map(|point| point.0).fold(x, f64::min).max(1.0);
    let y = points().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(&root);
    chart.caption(title, ("sans-serif", 20)).margin(12).x_label_area_size(42).y_label_area_size(56);
    if log {
        let chart = chart.build_cartesian_2d((x_least..x).log_scale(), 0.0..y)?;
        fill(chart, axes, lines)?;
    } else {
        let chart = chart.build_cartesian_2d(0.0..x, 0.0..y)?;
        fill(chart, axes, lines)?;
    }
    root.present()?;
    Ok(())
}

fn fill<'a, X>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, plotters::coord::types::RangedCoordf64>>,
    axes: [&str; 2],
    lines: &[Line],
) -> Drawn
where
    X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(axes[0]).y_desc(axes[1]).label_style(FONT).light_line_style(WHITE).draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let series = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        series
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::LowerRight).label_font(FONT).background_style(WHITE.mix(0.8));
    labels.border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}
