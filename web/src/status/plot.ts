import { effect } from '@preact/signals';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

/**
 * Draws `data()` into `element`, again whenever a signal it reads changes and whenever the element's width does.
 * Returns what removes it.
 */
export function plot(
  element: HTMLElement,
  height: number,
  data: () => UPlot.AlignedData,
  format: (value: number) => string,
  binary: boolean,
): () => void {
  const colour = (name: string) => resolveColour(element, name);
  const axis: UPlot.Axis = {
    stroke: colour('--text-muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: `11px ${getComputedStyle(element).fontFamily}`,
  };
  const series = (label: string, name: string): UPlot.Series => ({
    label,
    stroke: colour(name),
    width: 1.75,
    fill: colour(name).replace('rgb(', 'rgba(').replace(')', ', 0.12)'),
    points: { show: false },
    spanGaps: false,
  });
  const chart = new UPlot(
    {
      width: Math.max(element.clientWidth, 120),
      height,
      cursor: { show: false },
      legend: { show: false },
      padding: [8, 28, 0, 0],
      scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.15, 1)] } },
      series: [{}, series('in', '--in'), series('out', '--out')],
      axes: [
        { ...axis, space: 70, size: 28, values: (_, times) => times.map(clockLabel) },
        {
          ...axis,
          size: 62,
          incrs: binary ? BINARY_STEPS : DECIMAL_STEPS,
          values: (_, values) => values.map((value) => format(value)),
        },
      ],
    },
    data(),
    element,
  );
  const stop = effect(() => chart.setData(data()));
  const observer = new ResizeObserver(() => {
    if (element.clientWidth > 0) chart.setSize({ width: element.clientWidth, height });
  });
  observer.observe(element);
  return () => {
    stop();
    observer.disconnect();
    chart.destroy();
  };
}

const DECIMAL_STEPS = steps(1000);
const BINARY_STEPS = steps(1024);

/** 1, 2, 5, 10, 20, 50 … of each unit. */
function steps(unit: number): number[] {
  const within = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  return [0, 1, 2, 3, 4].flatMap((power) => within.map((step) => step * unit ** power));
}

/** The colour a custom property stands for right here, as `rgb(…)`; a canvas can't look it up. */
function resolveColour(element: HTMLElement, name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});

function clockLabel(seconds: number): string {
  return clock.format(seconds * 1000);
}
