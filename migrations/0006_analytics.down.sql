DROP TRIGGER IF EXISTS payments_analytics ON payments;
DROP TRIGGER IF EXISTS businesses_analytics ON businesses;
DROP TABLE IF EXISTS analytics_customers, analytics_credits, analytics_credit_sums, analytics_costs, analytics_campaigns, analytics_funnel,
    analytics_businesses, analytics_changed, analytics_progress, refunds, failed_charges;
DROP FUNCTION IF EXISTS onward_analytics_changed();
