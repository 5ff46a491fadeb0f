// Package figure draws results as SVG and PNG: grouped bars with error bars, stacked bars for the breakdown of a path into
// steps, cumulative distributions, and lines. It is apart from package results because the drawing library weighs more than everything
// else there.
//
// A figure is described by plain data; NewBars, NewStack, NewCDF and NewLines return a Plot, which writes itself in either
// format. Values that cannot be drawn (NaN, infinite, zero on a logarithmic axis) are left out and counted: the figure says
// at its foot how many. The same data gives the same bytes.
//
// Colours are the palette of Okabe and Ito, which readers with any colour vision tell apart; lines differ in dashes as well.
package figure
