//! Charts, as SVG: rate and p99 against the number of busy clients, memory against the number of idle ones.

use std::error::Error;
use std::path::Path;

use acceptd_bench::metric::Metric;
use plotters::prelude::*;

use crate::peers::Peer;
use crate::report::Report;
use crate::workloads::{Scale, Workload};

const PEERS: [(Peer, RGBColor); 6] = [
    (Peer::Acceptd, RGBColor(220, 50, 47)),
    (Peer::BareLoop, RGBColor(203, 135, 20)),
    (Peer::Textbook, RGBColor(133, 133, 133)),
    (Peer::Tokio1K, RGBColor(60, 120, 230)),
    (Peer::Tokio64K, RGBColor(160, 100, 215)),
    (Peer::Mio, RGBColor(40, 160, 90)),
];

/// The colour of text and axes. The charts have no background, and this grey is equally readable on a white page and on
/// a black one (WCAG's contrast is 4.5 on both).
const INK: RGBColor = RGBColor(118, 118, 118);

/// The legend stands beside the lines, where it hides none of them.
const LEGEND_WIDTH: i32 = 130;
const SIZE: (u32, u32) = (760, 400);

/// Draws the charts for which there are measurements.
pub fn draw(report: &Report, scale: Scale, folder: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let busy: Vec<Workload> = scale
        .workloads()
        .into_iter()
        .filter(|workload| matches!(workload, Workload::RequestResponse { size: 64, .. }))
        .collect();
    let idle: Vec<Workload> =
        scale.workloads().into_iter().filter(|workload| matches!(workload, Workload::Idle { .. })).collect();
    let charts = [
        ("rate.svg", "requests of 64 B a second, by busy clients (higher is better)", &busy, Metric::Rate, 1.0),
        ("p99.svg", "p99 in microseconds, by busy clients (lower is better)", &busy, Metric::P99, 1.0),
        (
            "memory.svg",
            "resident MiB, by idle clients (lower is better)",
            &idle,
            Metric::Resident,
            1.0 / (1 << 20) as f64,
        ),
    ];
    for (file, title, workloads, metric, unit) in charts {
        let lines: Vec<ChartLine> = PEERS
            .into_iter()
            .map(|(peer, color)| {
                let point = |workload: &Workload| {
                    let clients = clients_of(*workload) as f64;
                    // Resident memory is recorded for each client, and drawn for all of them.
                    let multiplier = if metric == Metric::Resident { clients } else { 1.0 };
                    report.median(*workload, peer, metric).map(|median| (clients, median * multiplier * unit))
                };
                (peer, color, workloads.iter().filter_map(point).collect())
            })
            .collect();
        if lines.iter().any(|(_, _, points)| points.len() > 1) {
            draw_lines(&folder.join(file), title, &lines)?;
        }
    }
    Ok(())
}

fn clients_of(workload: Workload) -> usize {
    match workload {
        Workload::RequestResponse { clients, .. } | Workload::Idle { clients } => clients,
        _ => 0,
    }
}

/// A peer, its colour and its points.
type ChartLine = (Peer, RGBColor, Vec<(f64, f64)>);

fn draw_lines(path: &Path, title: &str, lines: &[ChartLine]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let points = || lines.iter().flat_map(|(_, _, points)| points.iter().copied());
    let lowest_x = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
    let highest_x = points().map(|(x, _)| x).fold(1.0, f64::max);
    let highest_y = points().map(|(_, y)| y).fold(0.0, f64::max);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let (left, right) = area.split_horizontally(SIZE.0 as i32 - LEGEND_WIDTH);
    let mut chart = ChartBuilder::on(&left)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .margin(12)
        // Room for half of the last label.
        .margin_right(24)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d((lowest_x..highest_x).log_scale(), 0.0..highest_y * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.25))
        .axis_style(INK)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .x_label_formatter(&|x| if is_power_of_ten(*x) { with_thousands_separators(*x) } else { String::new() })
        .y_label_formatter(&|y| with_thousands_separators(*y))
        .draw()?;
    let drawn = lines.iter().filter(|(_, _, points)| !points.is_empty());
    for (row, (peer, color, points)) in (0..).zip(drawn) {
        let style = color.stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?;
        let y = 60 + 22 * row;
        right.draw(&PathElement::new([(0, y), (18, y)], style))?;
        right.draw(&Text::new(peer.name(), (26, y - 6), ("sans-serif", 14).into_font().color(&INK)))?;
    }
    area.present()?;
    Ok(())
}

/// Formats a number like `180,000`.
fn with_thousands_separators(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn is_power_of_ten(number: f64) -> bool {
    (number.log10() - number.log10().round()).abs() < 1e-6
}
